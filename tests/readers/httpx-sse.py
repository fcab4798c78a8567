"""Listens to the URL it is given with the PyPI package `httpx-sse`: prints `ready` once the stream is open, then each
event as one line of JSON. Ends when its standard input does, or with the stream unless `again` is given."""

import json
import os
import sys
import threading
import time

import httpx
from httpx_sse import connect_sse


def end_with_standard_input():
    while os.read(0, 1024):
        pass
    os._exit(0)


threading.Thread(target=end_with_standard_input, name="stdin", daemon=True).start()
again = "again" in sys.argv  # comes back when the stream ends, as its documentation shows
ready = False
while True:
    with httpx.Client(timeout=None, trust_env=False) as client:
        with connect_sse(client, "GET", sys.argv[1]) as source:
            source.response.raise_for_status()
            if not ready:
                print("ready", flush=True)
            ready = True
            for event in source.iter_sse():
                print(json.dumps({"id": event.id, "type": event.event, "data": event.data}), flush=True)
    if not again:
        break
    time.sleep(0.1)
print("error: the stream ended", flush=True)
