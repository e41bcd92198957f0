"""Filters: what they match, how they end, and what the broker says of itself."""

from dialogue import IS_V5, Party, check, numbered, run, same, text
from paho.mqtt.subscribeoptions import SubscribeOptions

TOPICS = ["a", "a/b", "a/b/c", "/a", "b/b", "a//c", "A/b"]
MATCHES = {
    "#": TOPICS,
    "+": ["a"],
    "a/#": ["a", "a/b", "a/b/c", "a//c"],
    "+/b": ["a/b", "b/b", "A/b"],
    "a/+/c": ["a/b/c", "a//c"],
    "/+": ["/a"],
    "+/+": ["a/b", "/a", "b/b", "A/b"],
    "a/b": ["a/b"],
}


def wildcards():
    party = Party("wild").connect().subscribe("end", 1)
    for topic_filter, wanted in MATCHES.items():
        party.subscribe(topic_filter, 1)
        party.publish_all([(topic, topic) for topic in TOPICS], 1)
        party.unsubscribe(topic_filter)
        party.publish("end", "end", 1)
        same(party.texts_before("end"), wanted, f"what {topic_filter} matches")
    party.disconnect()


def the_broker_says_which_version_it_is():
    party = Party("curious").connect().subscribe("$SYS/broker/version")
    message = party.receive()
    same((message.topic, bool(message.retain)), ("$SYS/broker/version", True), "the answer")
    check(text(message).startswith("mqtt-proxy version "), f"the version is {text(message)!r}")
    party.unsubscribe("$SYS/broker/version")
    party.disconnect()
    party = Party("not-curious").connect().subscribe("#", 1)
    party.publish("end", "end", 1)
    same([message.topic for message in party.before("end")], [], "retained topics for #")
    party.disconnect()


def unsubscribing_ends_it():
    party = Party("leaver").connect().subscribe("leave/#", 1).subscribe("stay", 1)
    party.publish("leave/a", "before", 1)
    codes = party.unsubscribe("leave/#")
    party.publish("leave/a", "after", 1)
    party.publish("stay", "end", 1)
    same(party.texts_before("end"), ["before"], "what came")
    again = party.unsubscribe("leave/#")
    if IS_V5:
        same((codes, again), ([0], [17]), "reason codes of UNSUBACK")
    party.disconnect()


def several_filters_in_one_packet():
    party = Party("several").connect()
    filters = [(f"several/{place}", place % 3) for place in range(30)]
    _, packet_id = party.client.subscribe(filters)
    codes = party.wait(lambda: party.grants.pop(packet_id, None), "SUBACK")
    same(codes, [qos for _, qos in filters], "granted")
    party.publish_all([(topic, topic) for topic, _ in filters], 2)
    got = sorted((text(party.receive()) for _ in filters), key=lambda topic: int(topic.split("/")[1]))
    same(got, [topic for topic, _ in filters], "what came")
    party.disconnect()


def no_local():
    own = Party("own").connect()
    own.subscribe("local", options=SubscribeOptions(1, noLocal=True))
    own.subscribe("end", 1)
    other = Party("other").connect()
    own.publish_all([("local", payload) for payload in numbered("own", 10)], 1)
    other.publish("local", "from the other", 1)
    own.publish("end", "end", 1)
    same(own.texts_before("end"), ["from the other"], "what came with No Local")
    own.disconnect()
    other.disconnect()


SCENES = [wildcards, the_broker_says_which_version_it_is, unsubscribing_ends_it, several_filters_in_one_packet]
run(*SCENES, *([no_local] if IS_V5 else []))
