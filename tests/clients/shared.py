"""Shared subscriptions: each message goes to one of three members, and a member that leaves is not missed."""

from dialogue import Party, check, numbered, run, same, text

COUNT = 300


def each_message_comes_once():
    for qos in range(3):
        members = [Party(f"member-{place}").connect().subscribe("$share/group/work/#", qos) for place in range(3)]
        outsider = Party("outsider").connect().subscribe("work/#", qos)
        publisher = Party("publisher").connect()
        wanted = numbered("job", COUNT)
        publisher.publish_all([(f"work/{qos}", payload) for payload in wanted], qos)
        publisher.publish(f"work/{qos}", "end", qos)
        same(outsider.texts_before("end"), wanted, f"QoS {qos}: the ordinary subscription")
        outsider.wait(lambda: sum(len(member.messages) for member in members) > COUNT, "each message at one member")
        got = sorted(text(message) for member in members for message in member.messages)
        same(got, sorted(wanted + ["end"]), f"QoS {qos}: all members together")
        for member in members:
            own = [text(message) for message in member.messages if text(message) != "end"]
            check(own, f"QoS {qos}: {member.name} got nothing")
            same(own, sorted(own), f"QoS {qos}: order at {member.name}")
            member.disconnect()
        outsider.disconnect()
        publisher.disconnect()


def the_others_do_the_work_of_one_that_left():
    members = [Party(f"member-{place}").connect().subscribe("$share/group/work", 1) for place in range(3)]
    publisher = Party("publisher").connect()
    members[0].disconnect()
    members[1].unsubscribe("$share/group/work")
    publisher.publish_all([("work", payload) for payload in numbered("job", 50)], 1)
    publisher.publish("work", "end", 1)
    same(members[2].texts_before("end"), numbered("job", 50), "what the last member got")
    same(len(members[0].messages) + len(members[1].messages), 0, "messages for those that left")
    for party in (*members[1:], publisher):
        party.disconnect()


run(each_message_comes_once, the_others_do_the_work_of_one_that_left)
