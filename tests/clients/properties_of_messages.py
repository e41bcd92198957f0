"""MQTT 5.0: what a message carries arrives as it was sent, and requests find their responses."""

from dialogue import Party, check, numbered, on_publish, run, same, text


def everything_arrives_as_it_was_sent():
    subscriber = Party("subscriber").connect().subscribe("properties", 2)
    publisher = Party("publisher").connect()
    pairs = [("unit", "°C"), ("z", "1"), ("a", "2"), ("z", "1"), ("", "")]
    sent = on_publish(
        PayloadFormatIndicator=1,
        MessageExpiryInterval=500,
        ContentType="application/json",
        ResponseTopic="answers/here",
        CorrelationData=b"\x00\x01\xff",
        UserProperty=pairs,
    )
    for qos in range(3):
        publisher.publish("properties", '{"t":21}', qos, made=sent)
        got = subscriber.receive().properties
        same(got.PayloadFormatIndicator, 1, "Payload Format Indicator")
        check(490 < got.MessageExpiryInterval <= 500, f"Message Expiry Interval {got.MessageExpiryInterval}")
        same(got.ContentType, "application/json", "Content Type")
        same(got.ResponseTopic, "answers/here", "Response Topic")
        same(got.CorrelationData, b"\x00\x01\xff", "Correlation Data")
        same(got.UserProperty, pairs, "User Properties")
    publisher.disconnect()
    subscriber.disconnect()


def requests_find_their_responses():
    responder = Party("responder").connect().subscribe("requests", 1)
    asker = Party("asker").connect().subscribe("answers/asker", 1)
    for question in numbered("question", 20):
        key = question.encode()[::-1]
        asker.publish("requests", question, 1, made=on_publish(ResponseTopic="answers/asker", CorrelationData=key))
        request = responder.receive()
        answer = on_publish(CorrelationData=request.properties.CorrelationData)
        responder.publish(request.properties.ResponseTopic, text(request).upper(), 1, made=answer)
        response = asker.receive()
        same((text(response), response.properties.CorrelationData), (question.upper(), key), "the response")
    asker.disconnect()
    responder.disconnect()


def subscription_identifiers():
    party = Party("identified").connect()
    party.subscribe("ids/#", 1, SubscriptionIdentifier=1)
    party.subscribe("ids/+", 1, SubscriptionIdentifier=268_435_455)
    party.subscribe("ids/end", 1)
    publisher = Party("publisher").connect()
    publisher.publish("ids/a", "x", 1)
    publisher.publish("ids/a/b", "y", 1)
    publisher.publish("ids/end", "end", 1)
    found = {"x": [], "y": []}
    for message in party.before("end"):
        found[text(message)] += message.properties.SubscriptionIdentifier
    same(sorted(found["x"]), [1, 268_435_455], "identifiers of both subscriptions")
    same(found["y"], [1], "identifiers of the only subscription that matches")
    publisher.disconnect()
    party.disconnect()


def topic_aliases_of_a_publisher():
    subscriber = Party("subscriber").connect().subscribe("alias/#", 1)
    publisher = Party("publisher").connect()
    check(publisher.connack[2].TopicAliasMaximum >= 2, "no two Topic Aliases are allowed")
    wanted = []
    for topic, alias in [("alias/one", 1), ("alias/two", 2), ("alias/three", 1)]:
        publisher.publish(topic, "named", 1, made=on_publish(TopicAlias=alias))
        publisher.publish("", "by alias", 1, made=on_publish(TopicAlias=alias))
        wanted += [(topic, "named"), (topic, "by alias")]
    publisher.publish("", "by alias", 1, made=on_publish(TopicAlias=2))
    wanted.append(("alias/two", "by alias"))
    got = [subscriber.receive() for _ in wanted]
    same([(message.topic, text(message)) for message in got], wanted, "topics")
    publisher.disconnect()
    subscriber.disconnect()


def topic_aliases_towards_a_subscriber():
    """paho shows aliases as they are; whether there are any is for the other side to choose."""
    subscriber = Party("subscriber", TopicAliasMaximum=2).connect().subscribe("alias/#", 1)
    publisher = Party("publisher").connect()
    wanted = [(f"alias/{place % 3}", payload) for place, payload in enumerate(numbered("m", 60))]
    publisher.publish_all(wanted, 1)
    known, got = {}, []
    for _ in wanted:
        message = subscriber.receive()
        alias = getattr(message.properties, "TopicAlias", None)
        topic = message.topic
        if alias is not None:
            check(1 <= alias <= 2, f"Topic Alias {alias} is above the maximum of 2")
            topic = topic or known.get(alias)
            known[alias] = topic
        got.append((topic, text(message)))
    same(got, wanted, "topics")
    publisher.disconnect()
    subscriber.disconnect()


def what_is_too_large_for_a_client_does_not_come():
    small = Party("small", MaximumPacketSize=200).connect().subscribe("size", 1)
    publisher = Party("publisher").connect()
    for payload in ("a" * 100, "b" * 500, "c" * 100_000, "d" * 100):
        publisher.publish("size", payload, 1)
    publisher.publish("size", "end", 1)
    same(small.texts_before("end"), ["a" * 100, "d" * 100], "with a Maximum Packet Size of 200")
    publisher.disconnect()
    small.disconnect()


run(
    everything_arrives_as_it_was_sent,
    requests_find_their_responses,
    subscription_identifiers,
    topic_aliases_of_a_publisher,
    topic_aliases_towards_a_subscriber,
    what_is_too_large_for_a_client_does_not_come,
)
