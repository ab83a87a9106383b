"""What training costs: speed, a benchmark of its phases, a plan of time and money."""
