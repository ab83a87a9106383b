"""The networks: generators and discriminators by family, their layers, and the files they live in."""
