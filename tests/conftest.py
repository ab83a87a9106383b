"""Fixtures for all tests, and one thread: networks are tiny and sums must be reproducible."""

import asyncio
import os

import hypothesis
import pytest
import torch

hypothesis.settings.register_profile("tests", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("tests")

TINY_GENERATOR = {
    "family": "stylegan2",
    "resolution": 16,
    "channels": 3,
    "channel_base": 128,
    "channel_max": 16,
    "z_dim": 8,
    "w_dim": 8,
    "map_depth": 2,
}
"""Settings of a generator that draws in a millisecond."""

hypothesis.settings.register_profile("same", derandomize=True, deadline=None, database=None, max_examples=60)
hypothesis.settings.load_profile("same")
torch.set_num_threads(1)
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # run Triton kernels in its interpreter; read when Triton is imported


def pytest_runtest_setup(item):
    """Skip tests marked `gpu` without a CUDA device."""
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")


class Visitor:
    """Send requests to an ASGI application without a network, one at a time, keeping cookies."""

    def __init__(self, app, base_url="http://localhost:8400"):
        self.app, self.base_url, self.cookies = app, base_url, {}

    def ask(self, method, address, **options):
        import httpx

        async def once():
            transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url=self.base_url, cookies=self.cookies) as client:
                answer = await client.request(method, address, **options)
                self.cookies = dict(client.cookies)
                return answer

        return asyncio.run(once())

    def get(self, address, **options):
        return self.ask("GET", address, **options)

    def post(self, address, **options):
        return self.ask("POST", address, **options)

    def delete(self, address, **options):
        return self.ask("DELETE", address, **options)


@pytest.fixture(scope="session")
def visitor():
    """Return the class of a client for ASGI applications."""
    pytest.importorskip("httpx", reason="these tests need httpx")
    return Visitor
