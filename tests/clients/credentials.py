"""A broker that takes in the user `device` with the password `secret` only."""

from dialogue import IS_V5, Party, check, run, same

# MQTT 3.1.1: bad user name or password, not authorized.
REFUSED = {134, 135} if IS_V5 else {4, 5}


def others_are_refused():
    for username, password in [(None, None), ("device", "wrong"), ("device", None), ("other", "secret"), ("", "")]:
        party = Party("stranger")
        if username is not None:
            party.client.username_pw_set(username, password)
        code = party.try_connect()
        check(code in REFUSED, f"{username!r} with {password!r}: code {code} instead of one of {REFUSED}")
        party.wait_for_end()


def the_right_one_is_taken_in():
    party = Party("friend")
    party.client.username_pw_set("device", "secret")
    party.connect().subscribe("t", 1)
    party.publish("t", "x", 1)
    same(party.receive().payload, b"x", "what it gets")
    party.disconnect()


run(others_are_refused, the_right_one_is_taken_in)
