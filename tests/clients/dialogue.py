"""What the dialogues share: a paho client that remembers what happened to it, waits with a deadline, and checks.

A dialogue is a script with the arguments HOST PORT VERSION (3.1.1 or 5). It exits with 0, or says what was wrong and
exits with 1.
"""

import faulthandler
import socket
import sys
import threading
import time

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

# How long anything may take, in seconds.
DEADLINE = 10
# How long a whole dialogue may take, in seconds; then it says where it hangs.
DIALOGUE_DEADLINE = 18
# How long a session lasts that is to outlive its connection, in seconds.
SESSION_SECS = 300

HOST, PORT, VERSION = sys.argv[1], int(sys.argv[2]), sys.argv[3]
IS_V5 = VERSION == "5"


class Wrong(Exception):
    """The other side did what it must not, or did not do what it must."""


def check(condition, what):
    """Fails the dialogue where the condition does not hold."""
    if not condition:
        raise Wrong(what)


def same(got, wanted, what):
    """Fails the dialogue with the first difference of two values or sequences."""
    if got == wanted:
        return
    if isinstance(got, list) and isinstance(wanted, list) and len(wanted) > 5:
        place = next((i for i, (a, b) in enumerate(zip(got, wanted)) if a != b), min(len(got), len(wanted)))
        raise Wrong(
            f"{what}: {len(got)} instead of {len(wanted)}; from place {place} on {got[place:place + 3]!r} "
            f"instead of {wanted[place:place + 3]!r}"
        )
    raise Wrong(f"{what}: {got!r} instead of {wanted!r}")


def numbered(prefix, count):
    """Payloads that tell their place."""
    return [f"{prefix}-{number:05}" for number in range(count)]


def properties(packet, **values):
    """Properties of a kind of packet; a list gives one of them several times."""
    made = Properties(packet)
    for name, value in values.items():
        for one in value if isinstance(value, list) else [value]:
            setattr(made, name, one)
    return made


def on_publish(**values):
    """Properties of a PUBLISH; nothing in MQTT 3.1.1, which has none."""
    return properties(PacketTypes.PUBLISH, **values) if IS_V5 else None


def number(code):
    """A reason code or return code as a number."""
    return code if isinstance(code, int) else code.value


def text(message):
    """The payload of a message that is text."""
    return message.payload.decode()


def paho(kind, name, clean):
    """A client of paho; its second major version wants to know which callbacks it is to call."""
    arguments = {"client_id": name, "protocol": mqtt.MQTTv311, "reconnect_on_failure": False}
    if IS_V5:
        arguments["protocol"] = mqtt.MQTTv5
    else:
        arguments["clean_session"] = clean
    if hasattr(mqtt, "CallbackAPIVersion"):
        arguments["callback_api_version"] = mqtt.CallbackAPIVersion.VERSION1
    return kind(**arguments)


class Party:
    """One client. With `lasting` its session outlives its connections, and connecting again resumes it."""

    def __init__(self, name, lasting=False, kind=mqtt.Client, inflight=None, **connect):
        self.name = name
        self.lasting = lasting
        self.connect_properties = connect
        self.client = paho(kind, name, not lasting)
        if inflight is not None:
            self.client.max_inflight_messages_set(inflight)
        self.changed = threading.Condition()
        self.connack = None
        self.end = None
        self.grants = {}
        self.messages = []
        self.taken = 0
        self.client.on_connect = self._on_connect
        self.client.on_disconnect = self._on_disconnect
        self.client.on_subscribe = self._on_grant
        self.client.on_unsubscribe = self._on_grant
        self.client.on_message = self._on_message

    def _on_connect(self, _client, _userdata, flags, code, *more):
        with self.changed:
            self.connack = (flags["session present"], number(code), more[0] if more else None)
            self.changed.notify_all()

    def _on_disconnect(self, _client, _userdata, code, *_more):
        with self.changed:
            if self.end is None:
                self.end = number(code)
            self.changed.notify_all()

    def _on_grant(self, _client, _userdata, packet_id, *more):
        # SUBACK: the codes, and in 5.0 the properties. UNSUBACK: nothing, or in 5.0 the properties and the codes.
        codes = next((part for part in more if isinstance(part, (list, tuple))), None)
        if codes is None:
            codes = [part for part in more if hasattr(part, "value")]
        with self.changed:
            self.grants[packet_id] = [number(code) for code in codes]
            self.changed.notify_all()

    def _on_message(self, _client, _userdata, message):
        with self.changed:
            self.messages.append(message)
            self.changed.notify_all()

    def wait(self, condition, what):
        """Waits until the condition gives something, which is the answer."""
        end = time.monotonic() + DEADLINE
        with self.changed:
            while True:
                answer = condition()
                if answer:
                    return answer
                check(time.monotonic() < end, f"{self.name} waited {DEADLINE} s in vain: {what}")
                self.changed.wait(0.1)

    def try_connect(self, clean=None, keep_alive=60):
        """Connects and gives the code of the CONNACK. `clean` is for a lasting session that is to begin anew (5.0)."""
        self.connack = self.end = None
        if IS_V5:
            asked = dict(self.connect_properties)
            if self.lasting:
                asked.setdefault("SessionExpiryInterval", SESSION_SECS)
            clean = not self.lasting if clean is None else clean
            made = properties(PacketTypes.CONNECT, **asked)
            self.client.connect(HOST, PORT, keep_alive, clean_start=clean, properties=made)
        else:
            self.client.connect(HOST, PORT, keep_alive)
        self.client.loop_start()
        self.wait(lambda: self.connack or self.end is not None, "the answer to CONNECT")
        check(self.connack, f"{self.name}: the connection ended ({self.end}) before a CONNACK")
        return self.connack[1]

    def connect(self, present=False, clean=None, keep_alive=60):
        """Connects; the session must be there or not as told."""
        same(self.try_connect(clean, keep_alive), 0, f"{self.name}: code of the CONNACK")
        same(bool(self.connack[0]), present, f"{self.name}: session present")
        return self

    def subscribe(self, topic_filter, qos=0, options=None, wanted=None, **values):
        """Subscribes and checks what is granted."""
        made = properties(PacketTypes.SUBSCRIBE, **values) if values else None
        _, packet_id = self.client.subscribe(topic_filter, qos, options, made)
        codes = self.wait(lambda: self.grants.pop(packet_id, None), f"SUBACK for {topic_filter}")
        if wanted is None:
            wanted = [qos if options is None else options.QoS]
        same(codes, wanted, f"{self.name}: granted for {topic_filter}")
        return self

    def unsubscribe(self, topic_filter):
        """Unsubscribes and gives the reason codes; in 3.1.1 there are none."""
        _, packet_id = self.client.unsubscribe(topic_filter)
        self.wait(lambda: packet_id in self.grants, f"UNSUBACK for {topic_filter}")
        return self.grants.pop(packet_id)

    def publish(self, topic, payload, qos=0, retain=False, made=None):
        """Publishes and waits until the flow is over (at QoS 0: until it is written)."""
        self.publish_all([(topic, payload)], qos, retain, made)

    def publish_all(self, messages, qos=0, retain=False, made=None):
        """Publishes pairs of topic and payload as fast as paho's window lets it, and waits until all flows are over."""
        flows = [self.client.publish(topic, payload, qos, retain, made) for topic, payload in messages]
        end = time.monotonic() + DEADLINE
        for flow in flows:
            same(flow.rc, mqtt.MQTT_ERR_SUCCESS if self.end is None else flow.rc, f"{self.name}: publishing")
            flow.wait_for_publish(max(0.01, end - time.monotonic()))
            check(flow.is_published(), f"{self.name}: a message of QoS {qos} was not acknowledged")

    def receive(self):
        """The next message."""
        self.wait(lambda: len(self.messages) > self.taken, f"message {self.taken + 1}")
        self.taken += 1
        return self.messages[self.taken - 1]

    def before(self, marker):
        """Every message up to the one with this payload, which must come."""
        found = []
        while True:
            message = self.receive()
            if message.payload == marker.encode():
                return found
            found.append(message)

    def texts_before(self, marker):
        """The payloads of every message up to the one with this payload."""
        return [text(message) for message in self.before(marker)]

    def wait_for_end(self):
        """Waits until the connection is over, and gives paho's code for why."""
        self.wait(lambda: self.end is not None, "the end of the connection")
        self.client.loop_stop()
        return self.end

    def disconnect(self, reason=None, **values):
        """Ends the connection in order."""
        made = properties(PacketTypes.DISCONNECT, **values) if values else None
        self.client.disconnect(reason, made)
        self.wait_for_end()

    def cut(self):
        """Ends the connection without a word."""
        self.client.socket().shutdown(socket.SHUT_RDWR)
        self.wait_for_end()


class Holding(mqtt.Client):
    """A client that takes messages in and acknowledges them only when it is told to."""

    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self.holding = True
        self.held = []
        # Acknowledgements go out in the order of their messages, whichever thread sends them.
        self.order = threading.Lock()

    def _send_puback(self, mid):
        return self._hold(super()._send_puback, mid)

    def _send_pubrec(self, mid):
        return self._hold(super()._send_pubrec, mid)

    def _hold(self, send, mid):
        with self.order:
            if not self.holding:
                return send(mid)
            self.held.append((send, mid))
            return mqtt.MQTT_ERR_SUCCESS

    def release_one(self):
        """Acknowledges the oldest one."""
        with self.order:
            send, mid = self.held.pop(0)
            send(mid)

    def forget(self):
        """Never acknowledges what was held, and from now on everything as it comes."""
        with self.order:
            self.holding = False
            self.held = []

    def release_all(self):
        """Acknowledges what was held, and from now on everything as it comes."""
        with self.order:
            self.holding = False
            for send, mid in self.held:
                send(mid)
            self.held = []


def run(*scenes):
    """Plays the scenes one after the other."""
    faulthandler.dump_traceback_later(DIALOGUE_DEADLINE, exit=True)
    for scene in scenes:
        start = time.monotonic()
        try:
            scene()
        except Wrong as wrong:
            print(f"{scene.__name__}: {wrong}", flush=True)
            sys.exit(1)
        print(f"{scene.__name__}: {time.monotonic() - start:.2f} s", flush=True)
