"""Retained messages: who gets them, with which flag, how they are deleted, and how they run out."""

import time

from dialogue import DEADLINE, IS_V5, Party, check, on_publish, run, same, text
from paho.mqtt.subscribeoptions import SubscribeOptions


def seen(messages):
    return sorted((message.topic, text(message), bool(message.retain)) for message in messages)


def looked_up(topic_filter, options=None):
    """What a new subscriber finds."""
    party = Party("look").connect().subscribe("look/end", 1)
    party.subscribe(topic_filter, 0 if options else 1, options)
    party.publish("look/end", "end", 1)
    found = party.before("end")
    party.disconnect()
    return found


def the_last_one_is_kept_until_it_is_deleted():
    publisher = Party("publisher").connect()
    live = Party("live").connect().subscribe("keep/#", 1)
    publisher.publish("keep/a", "old", 1, retain=True)
    publisher.publish("keep/a", "new", 2, retain=True)
    publisher.publish("keep/b", "b", 0, retain=True)
    publisher.publish("keep/c", "not kept", 1)
    same(seen(looked_up("keep/#")), [("keep/a", "new", True), ("keep/b", "b", True)], "retained below keep/#")
    same(seen(looked_up("keep/+")), [("keep/a", "new", True), ("keep/b", "b", True)], "retained for keep/+")
    same(seen(looked_up("keep/b")), [("keep/b", "b", True)], "retained on keep/b")
    publisher.publish("keep/a", "", 1, retain=True)
    same(seen(looked_up("keep/#")), [("keep/b", "b", True)], "after the deletion of keep/a")
    publisher.publish("keep/b", b"", 0, retain=True)
    publisher.publish("keep/end", "end", 1)
    same(seen(looked_up("keep/#")), [], "after the deletion of keep/b")
    wanted = [("keep/a", "", False), ("keep/a", "new", False), ("keep/a", "old", False), ("keep/b", "", False)]
    wanted += [("keep/b", "b", False), ("keep/c", "not kept", False)]
    same(seen(live.before("end")), wanted, "what came live")
    live.disconnect()
    publisher.disconnect()


def retain_handling():
    publisher = Party("publisher").connect()
    publisher.publish("handling", "kept", 1, retain=True)
    kept = [("handling", "kept", True)]
    for handling, first, second in [(0, kept, kept), (1, kept, []), (2, [], [])]:
        party = Party("handling").connect().subscribe("handling/end", 1)
        for wanted in (first, second):
            party.subscribe("handling", options=SubscribeOptions(1, retainHandling=handling))
            party.publish("handling/end", "end", 1)
            same(seen(party.before("end")), wanted, f"Retain Handling {handling}")
        party.disconnect()
    publisher.publish("handling", "", 1, retain=True)
    publisher.disconnect()


def retain_as_published():
    publisher = Party("publisher").connect()
    for keep in (True, False):
        party = Party("as-published").connect()
        party.subscribe("published", options=SubscribeOptions(1, retainAsPublished=keep))
        publisher.publish("published", "x", 1, retain=True)
        publisher.publish("published", "y", 1)
        publisher.publish("published", "", 1, retain=True)
        flags = [bool(party.receive().retain) for _ in range(3)]
        same(flags, [keep, False, keep], f"RETAIN with Retain As Published {keep}")
        party.disconnect()
    publisher.disconnect()


def what_expires_is_gone():
    """A message in a session runs out as a retained one does; one that lasts says how long it still does."""
    absent = Party("late", lasting=True).connect().subscribe("expiry/queued", 1)
    absent.disconnect()
    publisher = Party("publisher").connect()
    publisher.publish("expiry/queued", "short", 1, made=on_publish(MessageExpiryInterval=1))
    publisher.publish("expiry/queued", "long", 1, made=on_publish(MessageExpiryInterval=1000))
    publisher.publish("expiry/kept", "short", 1, True, on_publish(MessageExpiryInterval=1))
    end = time.monotonic() + DEADLINE
    while looked_up("expiry/kept"):
        check(time.monotonic() < end, "a retained message with a Message Expiry Interval of 1 is still there")
        time.sleep(0.05)
    absent.connect(present=True)
    message = absent.receive()
    same(text(message), "long", "what waited")
    left = message.properties.MessageExpiryInterval
    check(900 < left < 1000, f"it waited for a second, and its Message Expiry Interval is {left}")
    absent.disconnect()
    publisher.disconnect()


SCENES = [the_last_one_is_kept_until_it_is_deleted]
run(*SCENES, *([retain_handling, retain_as_published, what_expires_is_gone] if IS_V5 else []))
