"""Messages arrive once and in order at every QoS, and whatever their payload is."""

from dialogue import Party, check, numbered, run, same

COUNT = 1000


def a_thousand_messages_in_order():
    for qos in range(3):
        topic = f"order/{qos}"
        subscriber = Party("subscriber").connect().subscribe(topic, qos)
        publisher = Party("publisher").connect()
        wanted = numbered(f"q{qos}", COUNT)
        publisher.publish_all([(topic, payload) for payload in wanted], qos)
        publisher.publish(topic, "end", qos)
        messages = subscriber.before("end")
        same([message.payload.decode() for message in messages], wanted, f"order at QoS {qos}")
        same({message.qos for message in messages}, {qos}, "QoS of what came")
        check(not any(message.dup or message.retain for message in messages), "DUP or RETAIN is set")
        publisher.disconnect()
        subscriber.disconnect()


def the_lower_qos_of_both_ends_holds():
    party = Party("both").connect()
    for granted in range(3):
        for sent in range(3):
            topic = f"qos/{granted}/{sent}"
            party.subscribe(topic, granted)
            party.publish(topic, "x", sent)
            same(party.receive().qos, min(granted, sent), f"QoS {sent} for a subscription with {granted}")
    party.disconnect()


def empty_and_large_payloads():
    subscriber = Party("subscriber").connect().subscribe("size", 2)
    publisher = Party("publisher").connect()
    large = bytes(number * 7 % 251 for number in range(1_000_000))
    payloads = [b"", large, b"\x00\xff\xfe", b""]
    for qos in range(3):
        publisher.publish_all([("size", payload) for payload in payloads], qos)
        for payload in payloads:
            got = subscriber.receive().payload
            check(got == payload, f"QoS {qos}: {len(got)} bytes instead of {len(payload)}, or other ones")
    publisher.disconnect()
    subscriber.disconnect()


run(a_thousand_messages_in_order, the_lower_qos_of_both_ends_holds, empty_and_large_payloads)
