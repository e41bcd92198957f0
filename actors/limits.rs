//! Every capacity, deadline and retry of the actors in one place, with their relations proved at compile time.

use std::time::Duration;

/// How many packets a client may send in one exchange of enhanced authentication.
pub const AUTHENTICATION_ROUNDS_MAX: u32 = 8;

/// The most characters in an upstream broker's name.
pub const BROKER_NAME_CHARS_MAX: usize = 128;

/// The most Topic Filters of one upstream broker.
pub const BROKER_TOPICS_MAX: usize = 1_000;

/// The least bound for how far an upstream broker may fall behind, in bytes of the log.
pub const BROKER_QUEUE_BYTES_MIN: u64 = 64 * 1024;

/// The most upstream brokers.
pub const BROKERS_MAX: usize = 256;

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

/// The shortest wait before another attempt to reach an upstream broker.
pub const UPSTREAM_RETRY_FLOOR: Duration = Duration::from_millis(100);

/// The longest wait before another attempt to reach an upstream broker.
pub const UPSTREAM_RETRY_CEILING: Duration = Duration::from_secs(30);

/// A connection that lasted this long was a success, as is one on which a message was acknowledged: the next failure
/// starts with the shortest wait again.
pub const UPSTREAM_STABLE: Duration = Duration::from_secs(5);

/// The most QoS 1 and 2 messages on their way to one upstream broker, where it does not ask for fewer.
pub const UPSTREAM_IN_FLIGHT_MAX: u16 = 4_000;

/// The Receive Maximum that upstream brokers are told.
pub const UPSTREAM_RECEIVE_MAXIMUM: u16 = 1_000;

/// How long an upstream broker is asked to keep our session without a connection, in seconds: 7 days.
pub const UPSTREAM_SESSION_EXPIRY_SECS: u32 = 7 * 24 * 3_600;

/// How often an upstream broker's actor looks at its clock: Keep Alive, counters.
pub const UPSTREAM_TICK: Duration = Duration::from_millis(500);

/// How many Topic Filters go into one SUBSCRIBE to an upstream broker (AWS IoT Core accepts no more).
pub const SUBSCRIBE_FILTERS_MAX: usize = 8;

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

/// How many answers of a client may wait for the disk or for upstream brokers before nothing more is read from it.
pub const HELD_ANSWERS_MAX: usize = 4_096;

/// The same for SUBACK and UNSUBACK alone, which may be long.
pub const HELD_SUBACKS_MAX: usize = 64;

const _: () = assert!(HELD_SUBACKS_MAX <= HELD_ANSWERS_MAX, "they are among the answers");
const _: () = assert!(UNFINISHED_BYTES_MIN < CONTROL_PACKET_BYTES_MAX, "a long CONNECT counts");

/// How long a publisher waits before it tries again where an upstream broker may not fall behind further.
pub const QUOTA_RETRY: Duration = Duration::from_millis(100);

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
