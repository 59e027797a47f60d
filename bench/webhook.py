"""A webhook that lets every text pass, after 50 ms: `python webhook.py --port PORT`."""

from __future__ import annotations

import argparse
import asyncio

from aiohttp import web

SECONDS = 0.05


async def judge(request: web.Request) -> web.Response:
    await request.read()
    await asyncio.sleep(SECONDS)
    return web.json_response({"action": "pass"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    app = web.Application()
    app.router.add_post("/judge", judge)
    web.run_app(app, host="127.0.0.1", port=parser.parse_args().port, print=None, access_log=None)


if __name__ == "__main__":
    main()
