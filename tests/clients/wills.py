"""Wills: kept back after an orderly end, published after any other one, and as late as they ask for."""

from dialogue import IS_V5, Party, properties, run, same, text
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCodes


def mortal(name, lasting=False, retain=False, **values):
    party = Party(name, lasting=lasting)
    made = properties(PacketTypes.WILLMESSAGE, **values) if IS_V5 else None
    party.client.will_set(f"will/{name}", f"{name} is gone", 1, retain, made)
    return party


def after_an_orderly_end_there_is_none():
    watcher = Party("watcher").connect().subscribe("will/#", 1)
    mortal("orderly").connect().disconnect()
    watcher.publish("will/end", "end", 1)
    same(watcher.texts_before("end"), [], "Wills after a DISCONNECT")
    watcher.disconnect()


def after_a_closed_socket_there_is_one():
    watcher = Party("watcher").connect().subscribe("will/#", 1)
    mortal("cut").connect().cut()
    will = watcher.receive()
    same((will.topic, text(will), will.qos, bool(will.retain)), ("will/cut", "cut is gone", 1, False), "the Will")
    mortal("kept", retain=True).connect().cut()
    same(text(watcher.receive()), "kept is gone", "the retained Will")
    late = Party("late").connect().subscribe("will/#", 1)
    will = late.receive()
    same((will.topic, bool(will.retain)), ("will/kept", True), "the retained Will for a later subscriber")
    late.publish("will/kept", "", 1, retain=True)
    late.disconnect()
    watcher.disconnect()


def a_disconnect_can_ask_for_it():
    watcher = Party("watcher").connect().subscribe("will/#", 1)
    party = mortal("asked", ContentType="text/plain", UserProperty=[("a", "1"), ("a", "2")]).connect()
    party.disconnect(ReasonCodes(PacketTypes.DISCONNECT, "Disconnect with will message"))
    will = watcher.receive()
    same(text(will), "asked is gone", "the Will")
    same(will.properties.ContentType, "text/plain", "its Content Type")
    same(will.properties.UserProperty, [("a", "1"), ("a", "2")], "its User Properties")
    watcher.disconnect()


def it_waits_as_long_as_it_asks():
    watcher = Party("watcher").connect().subscribe("will/#", 1)
    delayed = mortal("delayed", lasting=True, WillDelayInterval=1).connect()
    back = mortal("back", lasting=True, WillDelayInterval=1).connect()
    at_once = mortal("at-once").connect()
    back.cut()
    back.connect(present=True)
    delayed.cut()
    at_once.cut()
    same([text(watcher.receive()) for _ in range(2)], ["at-once is gone", "delayed is gone"], "Wills")
    back.disconnect()
    watcher.publish("will/end", "end", 1)
    same(watcher.texts_before("end"), [], "the Will of the client that came back")
    watcher.disconnect()


SCENES = [after_an_orderly_end_there_is_none, after_a_closed_socket_there_is_one]
run(*SCENES, *([a_disconnect_can_ask_for_it, it_waits_as_long_as_it_asks] if IS_V5 else []))
