//! Every capacity, deadline and retry of the actors in one place, with their relations proved at compile time.

use std::time::Duration;

/// How many packets a client may send in one exchange of enhanced authentication.
pub const AUTHENTICATION_ROUNDS_MAX: u32 = 8;

/// The most characters in an upstream broker's name.
pub const BROKER_NAME_CHARS_MAX: usize = 128;

/// The most Topic Filters of one upstream broker.
pub const BROKER_TOPICS_MAX: usize = 1_000;

/// The most rewrite rules of one upstream broker and direction.
pub const BROKER_REWRITE_RULES_MAX: usize = 100;

/// The most User Properties that are added to each message of one upstream broker and direction.
pub const BROKER_USER_PROPERTIES_MAX: usize = 32;

/// The least bound for how far an upstream broker may fall behind, in bytes of the log.
pub const BROKER_QUEUE_BYTES_MIN: u64 = 64 * 1024;

/// The most upstream brokers.
pub const BROKERS_MAX: usize = 256;

/// How long what is in flight may take to finish at a server that a broker's definition does not lead to any more.
pub const UPSTREAM_LEAVE_DEADLINE: Duration = Duration::from_secs(2);

/// How often the ConfigStore looks whether a drain is over, while there is one, and how long it waits for the answer.
pub const DRAIN_INTERVAL: Duration = Duration::from_millis(100);
/// See [`DRAIN_INTERVAL`].
pub const DRAIN_ANSWER_DEADLINE: Duration = Duration::from_secs(2);

/// The longest deadline of a drain.
pub const DRAIN_SECS_MAX: u64 = 366 * 24 * 3_600;

/// How many messages wait in the mailbox of an actor that others send to.
pub const MAILBOX_MESSAGES: usize = 1_024;

/// How long the drain at shutdown may take as a whole.
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(5);

/// The size of the pieces in which the log's memory is taken and let go.
pub const LOG_CHUNK_BYTES: usize = 256 * 1024;

/// The least memory that the log may be given.
pub const LOG_HEAD_BYTES_MIN: usize = 1024 * 1024;

/// How long publishers wait at most for a connected upstream broker that is half the log's memory behind. One
/// that drains less than a read's worth of messages in this time is not waited for until it has caught up.
pub const READER_PATIENCE: Duration = Duration::from_millis(500);

const _: () = assert!(LOG_HEAD_BYTES_MIN >= 4 * LOG_CHUNK_BYTES, "eviction drops whole chunks");

/// The most bytes that one read takes from a connection.
pub const READ_BYTES: usize = 128 * 1024;

/// An empty output buffer larger than this is given back, so that an idle connection costs little.
pub const IDLE_OUTPUT_BYTES: usize = 64 * 1024;

/// How long a connection that is being closed may take to hand over its last packets.
pub const LINGER: Duration = Duration::from_secs(1);

/// How many reads are spent on what the other side still sends while its connection is being closed.
pub const LINGER_READS: usize = 256;

/// How long an attempt to reach an upstream broker may take, from the name look-up to CONNACK.
pub const UPSTREAM_CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// How long one address of a broker may take to accept a TCP connection where the name has others to try.
pub const UPSTREAM_ADDRESS_DEADLINE: Duration = Duration::from_secs(3);

const _: () = assert!(
    UPSTREAM_ADDRESS_DEADLINE.as_millis() * 2 < UPSTREAM_CONNECT_DEADLINE.as_millis(),
    "time for others"
);

/// The most bytes that go out in one frame of a WebSocket connection.
pub const WEBSOCKET_FRAME_BYTES: usize = 128 * 1024;

/// How much is read at once from a WebSocket connection.
pub const WEBSOCKET_READ_BYTES: usize = 64 * 1024;

/// How much longer a WebSocket frame may be than a packet: some brokers put several packets into one.
pub const WEBSOCKET_FRAME_SPARE_BYTES: usize = 64 * 1024;

/// How many connections to brokers may be tried out at once.
pub const CONNECTION_TESTS_MAX: usize = 4;

/// The longest secret, certificate or key that is read from a file or an environment variable.
pub const SECRET_BYTES_MAX: usize = 1024 * 1024;

/// The shortest wait before another attempt to reach an upstream broker.
pub const UPSTREAM_RETRY_FLOOR: Duration = Duration::from_millis(100);

/// The longest wait before another attempt to reach an upstream broker.
pub const UPSTREAM_RETRY_CEILING: Duration = Duration::from_secs(30);

/// The shortest wait before another attempt to reach an upstream broker that said that we may not.
pub const UPSTREAM_RETRY_DENIED: Duration = Duration::from_secs(60);

/// A connection that lasted this long was a success: the next failure starts with the shortest wait again.
pub const UPSTREAM_STABLE: Duration = Duration::from_secs(5);

/// The most QoS 1 and 2 messages on their way to one upstream broker, where it does not ask for fewer.
pub const UPSTREAM_IN_FLIGHT_MAX: u16 = 4_000;

/// The Receive Maximum that upstream brokers are told.
pub const UPSTREAM_RECEIVE_MAXIMUM: u16 = 1_000;

/// How long an upstream broker is asked to keep our session without a connection, in seconds: 7 days.
pub const UPSTREAM_SESSION_EXPIRY_SECS: u32 = 7 * 24 * 3_600;

/// How many messages are marked one by one, when a group changes to another member, as finished above the cursor.
pub const FINISHED_MARKS_MAX: usize = 16_384;

/// How long what is in flight at a broker may take to be acknowledged before another one goes on in its place.
pub const UPSTREAM_SETTLE_DEADLINE: Duration = Duration::from_secs(10);

/// How often an upstream broker's actor looks at its clock: Keep Alive, counters.
pub const UPSTREAM_TICK: Duration = Duration::from_millis(500);

/// How many Topic Filters go into one SUBSCRIBE to an upstream broker (AWS IoT Core accepts no more).
pub const SUBSCRIBE_FILTERS_MAX: usize = 8;

/// How many Topic Aliases are set at one upstream broker, where it accepts as many: what it accepts costs memory on
/// both sides.
pub const UPSTREAM_TOPIC_ALIASES_MAX: u16 = 1_024;

/// Shorter topics, in bytes, get no alias: it would save too little.
pub const ALIASED_TOPIC_BYTES_MIN: usize = 16;

/// So often a topic comes before it gets an alias.
pub const TOPIC_ALIAS_AFTER: u8 = 3;

/// How many topics without an alias are remembered, to see which ones come often.
pub const TOPIC_ALIAS_CANDIDATES: usize = 512;

/// So many dead letters of one upstream broker wait for the Router before the broker's own messages do; those that cannot
/// wait may be twice as many.
pub const DEAD_LETTERS_WAITING: usize = 256;

/// As [`DEAD_LETTERS_WAITING`], in bytes.
pub const DEAD_LETTER_BYTES_WAITING: usize = 1024 * 1024;

/// Once this much waits to be written to an upstream broker, no more is encoded until it is.
pub const UPSTREAM_OUTPUT_BYTES: usize = 128 * 1024;

/// How much an actor writes or reads in one turn before the others have theirs.
pub const TURN_BYTES: usize = 1024 * 1024;

/// How many reads an actor makes in one turn before the others have theirs.
pub const TURN_READS: usize = 4;

/// How many topics an upstream broker's filters remember the answer for.
pub const TOPIC_CACHE_ENTRIES: usize = 16 * 1024;

/// How often the Router looks after its upstream brokers' actors.
pub const SUPERVISION_TICK: Duration = Duration::from_millis(200);

/// How many Topic Names the Router remembers the subscribers of.
pub const ROUTE_CACHE_ENTRIES: usize = 16 * 1024;

/// Once this much waits to be written to a client, no more is encoded until it is.
pub const SESSION_OUTPUT_BYTES: usize = 64 * 1024;

/// Once so many bytes of answers wait to be written to a client, nothing more is read from it.
pub const UNSENT_ANSWERS_BYTES: usize = 256 * 1024;

/// The most packets that one read hands out; the others stay bytes until the next.
pub const PACKETS_PER_READ_MAX: usize = 4_096;

const _: () = assert!(PACKETS_PER_READ_MAX >= ROUTE_BATCH_MESSAGES, "a read is enough for a batch");

/// The longest packet other than PUBLISH that is accepted from a client. What it asks for is worked out in memory.
pub const CONTROL_PACKET_BYTES_MAX: usize = 1024 * 1024;

/// A connection with less than this of an unfinished packet is not ended because others have too much.
pub const UNFINISHED_BYTES_MIN: usize = 4 * 1024;

/// How many bytes the Router spends on remembering who subscribes to which topics, and how long these may be.
pub const ROUTE_CACHE_BYTES: usize = 64 * 1024 * 1024;
/// See [`ROUTE_CACHE_BYTES`].
pub const CACHED_TOPIC_BYTES_MAX: usize = 512;

/// An empty queue of a session with more places than this is given back.
pub const IDLE_QUEUE_MESSAGES: usize = 64;

/// How long publishers wait at most for a connected subscriber whose queue is half full. One that takes less than
/// [`SUBSCRIBER_PACE_BYTES`] in this time is not waited for until it has caught up.
pub const SUBSCRIBER_PATIENCE: Duration = Duration::from_millis(100);

/// See [`SUBSCRIBER_PATIENCE`].
pub const SUBSCRIBER_PACE_BYTES: u64 = 256 * 1024;

const _: () =
    assert!(SUBSCRIBER_PATIENCE.as_millis() < 1_000, "a client is left alone before it can be given up");

/// How many retained messages a session takes at a time from those that it has to send, and how many bytes of them.
pub const RETAINED_BATCH_MESSAGES: usize = 1_024;
/// See [`RETAINED_BATCH_MESSAGES`].
pub const RETAINED_BATCH_BYTES: usize = 1024 * 1024;

/// How many places of the store the Router looks at for such a batch.
pub const RETAINED_BATCH_STEPS: usize = 8_192;

/// How many retained messages that have expired the Router lets go of at a time.
pub const RETAINED_SWEEP_MESSAGES: usize = 1_024;

/// Once so much more of an unfinished packet has arrived, its sender is alive although no packet is complete.
pub const KEEP_ALIVE_BYTES: usize = 1_024;

/// The most Topic Aliases that are used towards one client, where it does not accept fewer.
pub const OUTBOUND_TOPIC_ALIASES_MAX: u16 = 64;

/// How long a Will of before a restart waits at least: the definitions of the upstream brokers come from another thread.
pub const RESTORED_WILL_PAUSE: Duration = Duration::from_secs(1);

/// The most messages that go to the Router at once.
pub const ROUTE_BATCH_MESSAGES: usize = 1_024;

/// The longest packet that is accepted from an upstream broker, where devices may not send longer ones: its messages were
/// accepted elsewhere before.
pub const UPSTREAM_PACKET_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The most QoS 2 messages on their way to a 3.1.1 broker, which cannot say what it bears. mosquitto bears as many as its
/// `max_inflight_messages`, 20 unless somebody changed it: above that it closes the connection, and exactly there it
/// acknowledges QoS 1 messages without taking them. Half of it keeps clear of both.
pub const UPSTREAM_QOS_2_IN_FLIGHT_MAX: u16 = 10;

/// How long an echo of a message may take to come back from a broker before it counts as a message of its own.
pub const ECHO_PATIENCE: Duration = Duration::from_secs(60);

/// How many messages are remembered to recognise their echoes by, for each broker that echoes.
pub const ECHO_CREDITS_MAX: usize = 100_000;

/// How many messages of a connection are watched to see whether a broker that takes us for a bridge sends them back, how
/// long each may take, and how many of them have to.
pub const ECHO_TRIAL_MESSAGES: u32 = 20;
/// See [`ECHO_TRIAL_MESSAGES`].
pub const ECHO_TRIAL_PATIENCE: Duration = Duration::from_secs(2);
/// See [`ECHO_TRIAL_MESSAGES`].
pub const ECHO_TRIAL_MAX: u32 = 3;

/// How many messages are remembered, for all brokers together, to tell copies that other proxies bring round.
pub const COPIES_MAX: usize = 65_536;

/// How many answers of a client may wait for the disk or for upstream brokers before nothing more is read from it.
pub const HELD_ANSWERS_MAX: usize = 4_096;

/// The same for SUBACK and UNSUBACK alone, which may be long.
pub const HELD_SUBACKS_MAX: usize = 64;

const _: () = assert!(HELD_SUBACKS_MAX <= HELD_ANSWERS_MAX, "they are among the answers");
const _: () = assert!(UNFINISHED_BYTES_MIN < CONTROL_PACKET_BYTES_MAX, "a long CONNECT counts");

/// How long a publisher waits before it tries again where an upstream broker may not fall behind further.
pub const QUOTA_RETRY: Duration = Duration::from_millis(100);

/// The most characters in the name of a rule for alerts.
pub const ALERT_NAME_CHARS_MAX: usize = 128;

/// The most rules for alerts.
pub const ALERT_RULES_MAX: usize = 64;

/// How often the upstream brokers are held against the rules for alerts.
pub const ALERT_INTERVAL: Duration = Duration::from_secs(1);

/// How many looks at what was dropped are remembered for each broker: those of a minute, and some to spare.
pub const ALERT_DROP_LOOKS_MAX: usize = 128;

/// An alert of before a restart does not clear so soon after it: what brokers lack has to be found out first.
pub const ALERT_RESTORE_PAUSE: Duration = Duration::from_secs(5);

/// How many rules and brokers may have alerts that wait for the webhook.
pub const ALERTS_WAITING_MAX: usize = 4_096;

/// How soon a webhook that took nothing is tried again, and how late.
pub const WEBHOOK_RETRY_FLOOR: Duration = Duration::from_millis(500);
/// See [`WEBHOOK_RETRY_FLOOR`].
pub const WEBHOOK_RETRY_CEILING: Duration = Duration::from_secs(60);

/// An alert that the webhook did not take for so long is given up.
pub const WEBHOOK_AGE_MAX: Duration = Duration::from_secs(24 * 3_600);

/// How long one attempt to reach the webhook may take.
pub const WEBHOOK_DEADLINE: Duration = Duration::from_secs(10);

/// How much of the log is written at once at most.
pub const WRITE_BYTES: usize = 4 * 1024 * 1024;

/// How often an upstream broker's cursor is written down at most. A crash repeats what the broker acknowledged since.
pub const CURSOR_INTERVAL: Duration = Duration::from_millis(10);

/// How soon a disk that failed is tried again, and how late.
pub const DISK_RETRY_FLOOR: Duration = Duration::from_millis(50);
/// See [`DISK_RETRY_FLOOR`].
pub const DISK_RETRY_CEILING: Duration = Duration::from_millis(1_000);

/// How often the log's files are held against their bounds.
pub const RETENTION_INTERVAL: Duration = Duration::from_millis(500);

/// How long the writer pauses where the files are too long, before it looks again.
pub const RETENTION_PAUSE: Duration = Duration::from_millis(5);

/// How many such pauses the writer makes at most before it goes on.
pub const RETENTION_PAUSES_MAX: usize = 100;

/// How often the store's thread reads what is new in the log, so that memory need not keep it.
pub const STORE_READ_INTERVAL: Duration = Duration::from_millis(50);

/// How long changes of state are collected before the store takes them as one. A start reads from the log what the store
/// had not taken, so this is no promise to anybody.
pub const STORE_INTERVAL: Duration = Duration::from_millis(500);

/// How much of the log the store takes at once at most.
pub const STORE_GROUP_BYTES: usize = 8 * 1024 * 1024;
