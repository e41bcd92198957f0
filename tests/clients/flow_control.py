"""Windows: one message at a time from paho, and no more to it than its Receive Maximum allows."""

import time

from dialogue import IS_V5, Holding, Party, numbered, run, same, text

# How long it watches for a message that must not come, in seconds.
SILENCE = 0.1
COUNT = 30


def a_publisher_with_a_window_of_one():
    for qos in (1, 2):
        subscriber = Party("subscriber").connect().subscribe("one", qos)
        publisher = Party("publisher", inflight=1).connect()
        publisher.publish_all([("one", payload) for payload in numbered("m", 200)], qos)
        publisher.publish("one", "end", qos)
        same(subscriber.texts_before("end"), numbered("m", 200), f"QoS {qos}")
        publisher.disconnect()
        subscriber.disconnect()


def receive_maximum():
    for qos in (1, 2):
        for window in range(1, 6):
            slow = Party("slow", kind=Holding, ReceiveMaximum=window).connect().subscribe("slow", qos)
            publisher = Party("publisher").connect()
            wanted = numbered("m", COUNT)
            publisher.publish_all([("slow", payload) for payload in wanted], qos)
            client = slow.client
            for _ in range(2):
                slow.wait(lambda: len(client.held) >= window, f"{window} messages without an acknowledgement")
                time.sleep(SILENCE)
                same(len(client.held), window, f"QoS {qos}: messages in a Receive Maximum of {window}")
                client.release_one()
            # The rest goes through, one window after the other.
            slow.wait(lambda: len(client.held) >= window, f"{window} messages after the second acknowledgement")
            client.release_all()
            got = [text(slow.receive()) for _ in wanted]
            same(got, wanted, f"QoS {qos}, Receive Maximum {window}")
            publisher.disconnect()
            slow.disconnect()


run(a_publisher_with_a_window_of_one, *([receive_maximum] if IS_V5 else []))
