"""Connections that break while messages flow: nothing is lost, and at QoS 2 nothing comes twice."""

from dialogue import Party, check, numbered, run, same, text

COUNT = 400
CUTS = 8


def first_of_each(texts):
    return list(dict.fromkeys(texts))


def check_texts(got, wanted, qos, where):
    if qos == 2:
        same(got, wanted, f"{where}, QoS 2")
    else:
        same(first_of_each(got), wanted, f"{where}, QoS 1, repeats left out")


def the_subscriber_is_cut():
    for qos in (1, 2):
        topic = f"cut/subscriber/{qos}"
        subscriber = Party(f"subscriber-{qos}", lasting=True).connect().subscribe(topic, qos)
        publisher = Party("publisher").connect()
        wanted = numbered("m", COUNT) + ["end"]
        flows = [publisher.client.publish(topic, payload, qos) for payload in wanted]
        for place in range(1, CUTS + 1):
            enough = place * COUNT // (CUTS + 2)
            subscriber.wait(lambda: len(subscriber.messages) >= enough, f"{enough} messages")
            subscriber.cut()
            subscriber.connect(present=True)
        subscriber.wait(lambda: any(message.payload == b"end" for message in subscriber.messages), "the last message")
        publisher.wait(lambda: all(flow.is_published() for flow in flows), "all acknowledgements")
        check_texts([text(message) for message in subscriber.messages], wanted, qos, "a subscriber that is cut")
        subscriber.disconnect()
        publisher.disconnect()


def the_publisher_is_cut():
    for qos in (1, 2):
        topic = f"cut/publisher/{qos}"
        subscriber = Party("subscriber").connect().subscribe(topic, qos)
        publisher = Party(f"publisher-{qos}", lasting=True).connect()
        wanted = numbered("m", COUNT)
        flows = [publisher.client.publish(topic, payload, qos) for payload in wanted]
        for place in range(1, CUTS + 1):
            enough = place * COUNT // (CUTS + 2)
            publisher.wait(lambda: sum(flow.is_published() for flow in flows) >= enough, f"{enough} acknowledgements")
            publisher.cut()
            publisher.connect(present=True)
        publisher.wait(lambda: all(flow.is_published() for flow in flows), "all acknowledgements")
        publisher.publish(topic, "end", qos)
        got = subscriber.before("end")
        check(not any(message.dup for message in got), "DUP of the publisher is passed on")
        check_texts([text(message) for message in got], wanted, qos, "a publisher that is cut")
        subscriber.disconnect()
        publisher.disconnect()


run(the_subscriber_is_cut, the_publisher_is_cut)
