"""A second client with the same Client Identifier: the first one is told and let go."""

from dialogue import IS_V5, Party, check, numbered, run, same

SESSION_TAKEN_OVER = 142


def the_old_connection_ends():
    old = Party("twin").connect()
    new = Party("twin").connect()
    reason = old.wait_for_end()
    if IS_V5:
        same(reason, SESSION_TAKEN_OVER, "reason code of the DISCONNECT")
    else:
        check(reason != 0, "paho takes the end for one that it asked for")
    new.subscribe("twin", 1)
    new.publish("twin", "still here", 1)
    same(new.receive().payload, b"still here", "what the new one gets")
    new.disconnect()


def the_session_goes_on():
    old = Party("heir", lasting=True).connect().subscribe("heir", 1)
    new = Party("heir", lasting=True).connect(present=True)
    old.wait_for_end()
    publisher = Party("publisher").connect()
    publisher.publish_all([("heir", payload) for payload in numbered("m", 20)], 1)
    publisher.publish("heir", "end", 1)
    same(new.texts_before("end"), numbered("m", 20), "what the new one gets")
    same(old.messages, [], "what the old one gets")
    new.disconnect()
    publisher.disconnect()


def twenty_twins_in_a_row():
    twins = [Party("twin").connect() for _ in range(20)]
    for twin in twins[:-1]:
        reason = twin.wait_for_end()
        check(not IS_V5 or reason == SESSION_TAKEN_OVER, f"reason code {reason} of the DISCONNECT")
    twins[-1].subscribe("last", 1)
    twins[-1].publish("last", "x", 1)
    twins[-1].receive()
    twins[-1].disconnect()


run(the_old_connection_ends, the_session_goes_on, twenty_twins_in_a_row)
