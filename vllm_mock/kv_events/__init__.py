"""KV events: what happens to cached blocks, published over ZeroMQ as vLLM does.

pyzmq and msgspec are imported by the modules `publisher` and `wire`, which are imported only when events are on.
"""
