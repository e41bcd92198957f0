"""Many clients at once, and one that comes and goes many times."""

from dialogue import IS_V5, Party, check, numbered, run, same, text

CLIENTS = 50
CONNECTS = 100


def fifty_clients_at_once():
    crowd = [Party(f"one-of-many-{place}") for place in range(CLIENTS)]
    for party in crowd:
        party.connect().subscribe(f"crowd/{party.name}", 1).subscribe("crowd/all", 1)
    for place, party in enumerate(crowd):
        party.client.publish("crowd/all", party.name, 1)
        party.client.publish(f"crowd/{crowd[place - 1].name}", f"for {crowd[place - 1].name}", 1)
    for party in crowd:
        got = sorted(text(party.receive()) for _ in range(CLIENTS + 1))
        wanted = sorted([f"for {party.name}"] + [other.name for other in crowd])
        same(got, wanted, f"what {party.name} got")
    for party in crowd:
        party.client.disconnect()
    for party in crowd:
        party.wait_for_end()


def a_hundred_connects():
    """Alternately with an orderly and with a sudden end; the session is there each time."""
    party = Party("restless", lasting=True).connect().subscribe("restless", 1)
    for place, payload in enumerate(numbered("visit", CONNECTS)):
        party.publish("restless", payload, 1)
        message = party.receive()
        while message.dup:
            # A connection that was cut took paho's acknowledgement with it.
            message = party.receive()
        same(text(message), payload, "the message of this visit")
        if place % 2:
            party.cut()
        else:
            party.disconnect()
        party.connect(present=True)
    party.disconnect()
    guest = Party("guest")
    for _ in range(CONNECTS):
        guest.connect(present=False)
        guest.disconnect()


def clients_without_a_name():
    nameless = [Party("").connect().subscribe("nameless", 1) for _ in range(5)]
    if IS_V5:
        names = {party.connack[2].AssignedClientIdentifier for party in nameless}
        check(len(names) == len(nameless) and all(names), f"the names are {sorted(names)}")
    nameless[0].publish("nameless", "for all", 1)
    for party in nameless:
        same(text(party.receive()), "for all", "the message")
    for party in nameless:
        party.disconnect()


def a_silent_client_is_kept_while_it_pings():
    answers = []
    party = Party("silent")
    party.client.on_log = lambda _client, _userdata, _level, line: answers.append(line)
    party.connect(keep_alive=2)
    # The second answer comes after one and a half times the Keep Alive.
    party.wait(lambda: sum("PINGRESP" in line for line in answers) == 2, "two answers to PINGREQ")
    same(party.end, None, "end of the connection")
    party.disconnect()


run(fifty_clients_at_once, a_hundred_connects, clients_without_a_name, a_silent_client_is_kept_while_it_pings)
