"""Sessions that outlive their connections: what is queued for them, when they are there, and when they are gone."""

from dialogue import IS_V5, Holding, Party, check, numbered, run, same, text


def messages_wait_for_an_absent_client():
    absent = Party("absent", lasting=True).connect().subscribe("wait/1", 1).subscribe("wait/2", 2)
    publisher = Party("publisher").connect()
    absent.disconnect()
    for qos in (1, 2):
        publisher.publish_all([(f"wait/{qos}", payload) for payload in numbered("m", 200)], qos)
    absent.connect(present=True)
    for qos in (1, 2):
        publisher.publish(f"wait/{qos}", "end", qos)
    got = {"wait/1": [], "wait/2": []}
    while any("end" not in texts for texts in got.values()):
        message = absent.receive()
        got[message.topic].append(text(message))
    for topic, texts in got.items():
        same(texts, numbered("m", 200) + ["end"], f"queued on {topic}")
    absent.disconnect()
    absent.connect(present=True).disconnect()
    publisher.disconnect()


def what_was_not_acknowledged_comes_again():
    for qos in (1, 2):
        topic = f"again/{qos}"
        careless = Party(f"careless-{qos}", lasting=True, kind=Holding).connect().subscribe(topic, qos)
        publisher = Party("publisher").connect()
        wanted = numbered("m", 5)
        publisher.publish_all([(topic, payload) for payload in wanted], qos)
        careless.wait(lambda: len(careless.client.held) == 5, "five messages that are not acknowledged")
        careless.cut()
        careless.client.forget()
        # paho shows a QoS 1 message each time, and a QoS 2 message when its flow is over.
        careless.taken = len(careless.messages)
        careless.connect(present=True)
        again = [careless.receive() for _ in wanted]
        same([text(message) for message in again], wanted, f"sent again at QoS {qos}")
        check(all(message.dup for message in again), f"DUP is not set at QoS {qos}")
        publisher.publish(topic, "end", qos)
        same(careless.texts_before("end"), [], "after that")
        careless.disconnect()
        publisher.disconnect()


def a_clean_session_starts_from_nothing():
    old = Party("clean", lasting=True).connect().subscribe("old", 1)
    old.disconnect()
    publisher = Party("publisher").connect()
    publisher.publish("old", "queued", 1)
    new = Party("clean").connect(present=False).subscribe("new", 1)
    publisher.publish("old", "lost", 1)
    publisher.publish("new", "end", 1)
    same(new.texts_before("end"), [], "what the old session had")
    new.disconnect()
    Party("clean", lasting=True).connect(present=False).disconnect()
    publisher.disconnect()


def a_session_ends_as_it_is_told():
    party = Party("ends", lasting=True).connect()
    party.disconnect(SessionExpiryInterval=0)
    party.connect(present=False)
    party.disconnect()
    party.connect(present=True)
    party.disconnect()
    party.connect(clean=True, present=False)
    party.disconnect()


SCENES = [
    messages_wait_for_an_absent_client,
    what_was_not_acknowledged_comes_again,
    a_clean_session_starts_from_nothing,
]
run(*SCENES, *([a_session_ends_as_it_is_told] if IS_V5 else []))
