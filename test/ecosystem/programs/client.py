"""Puts a document and gets it back, by one of Python's HTTP clients: CLIENT URL. It has no thought of failures."""

import asyncio
import json
import sys

BODY = {"from": "Python"}


def by_urllib(url):
    from urllib.request import Request, urlopen

    headers = {"Content-Type": "application/json"}
    urlopen(Request(url, method="PUT", data=json.dumps(BODY).encode(), headers=headers)).read()
    answer = urlopen(url)
    return answer.headers["Holdline-Call-Id"], json.load(answer)


def by_requests(url):
    import requests

    requests.put(url, json=BODY).raise_for_status()
    answer = requests.get(url)
    return answer.headers["Holdline-Call-Id"], answer.json()


def by_httpx(url):
    import httpx

    httpx.put(url, json=BODY, timeout=60).raise_for_status()
    answer = httpx.get(url, timeout=60)
    return answer.headers["Holdline-Call-Id"], answer.json()


def by_aiohttp(url):
    import aiohttp

    async def calls():
        async with aiohttp.ClientSession(trust_env=True, raise_for_status=True) as session:
            await session.put(url, json=BODY)
            async with session.get(url) as answer:
                return answer.headers["Holdline-Call-Id"], json.loads(await answer.text())

    return asyncio.run(calls())


client, target = sys.argv[1:]
call_id, document = globals()["by_" + client](target)
print(json.dumps({"callId": call_id, "document": document}))
