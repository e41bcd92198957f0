"""asyncio-mqtt, the client for Python's event loop (its newer name is aiomqtt): many of them in one loop."""

import asyncio
import sys

from dialogue import HOST, IS_V5, PORT, Wrong, check, numbered, on_publish, same

try:
    import asyncio_mqtt as library
except ImportError:
    import aiomqtt as library

DEADLINE = 9
CLIENTS = 20
COUNT = 10


def client(name, **more):
    version = library.ProtocolVersion.V5 if IS_V5 else library.ProtocolVersion.V311
    identity = "client_id" if "client_id" in library.Client.__init__.__code__.co_varnames else "identifier"
    return library.Client(HOST, PORT, protocol=version, **{identity: name}, **more)


class Messages:
    """The messages of a client from now on; where they stand depends on the version of the library."""

    def __init__(self, of):
        self.of = of
        self.context = of.messages() if callable(of.messages) else None

    async def __aenter__(self):
        return await self.context.__aenter__() if self.context else self.of.messages

    async def __aexit__(self, *error):
        if self.context:
            await self.context.__aexit__(*error)


async def take(messages, count):
    found = []
    async for message in messages:
        found.append(message)
        if len(found) == count:
            return found
    raise Wrong(f"{len(found)} messages instead of {count}")


async def one_talks_to_itself(place):
    async with client(f"loop-{place}") as party, Messages(party) as messages:
        for qos in range(3):
            topic = f"loop/{place}/{qos}"
            await party.subscribe(topic, qos=qos)
            wanted = numbered(f"{place}-q{qos}", COUNT)
            received = asyncio.create_task(take(messages, COUNT))
            for payload in wanted:
                await party.publish(topic, payload, qos=qos)
            got = await received
            same([message.payload.decode() for message in got], wanted, f"client {place}, QoS {qos}")
            same({str(message.topic) for message in got}, {topic}, "topics")
            await party.unsubscribe(topic)


async def many_in_one_loop():
    await asyncio.gather(*(one_talks_to_itself(place) for place in range(CLIENTS)))


async def a_will_and_a_retained_message():
    will = library.Will("loop/will", payload="gone", qos=1)
    async with client("watcher") as watcher, Messages(watcher) as messages:
        mortal = client("mortal", will=will)
        await mortal.__aenter__()
        await watcher.publish("loop/kept", "kept", qos=1, retain=True, properties=on_publish(ContentType="text/plain"))
        await watcher.subscribe([("loop/will", 1), ("loop/kept", 1)])
        kept = (await take(messages, 1))[0]
        same((kept.payload, bool(kept.retain)), (b"kept", True), "the retained message")
        check(not IS_V5 or kept.properties.ContentType == "text/plain", "its Content Type is not as it was")
        # Its end without a DISCONNECT.
        mortal._client.socket().shutdown(2)
        gone = (await take(messages, 1))[0]
        same((str(gone.topic), gone.payload), ("loop/will", b"gone"), "the Will")
        await watcher.publish("loop/kept", b"", qos=1, retain=True)
        try:
            await mortal.__aexit__(None, None, None)
        except library.MqttError:
            # It knows that the connection is gone.
            pass


async def all_scenes():
    for scene in (many_in_one_loop, a_will_and_a_retained_message):
        await asyncio.wait_for(scene(), DEADLINE)
        print(f"{scene.__name__}: as it should be", flush=True)


try:
    asyncio.run(all_scenes())
except (Wrong, library.MqttError, asyncio.TimeoutError) as wrong:
    print(f"wrong: {wrong!r}")
    sys.exit(1)
