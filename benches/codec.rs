//! What one packet costs to read and to write, beside mqttbytes. A read of 64 KiB brings about 700 messages
//! of 64 bytes, so that is the batch.

use std::hint::black_box;

use bytes::BytesMut;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mqtt::codec::{DecodeLimits, decode_all, encode};
use mqtt::packet::acknowledgement::{AcknowledgementKind, encode_success};
use mqtt::packet::publish::encode_parts;
use mqtt::packet::{Acknowledgement, PublishHeader};
use mqtt::{Packet, PacketId, ProtocolVersion, QoS};

const BATCH: usize = 700;
const TOPIC_NAME: &str = "site/12/line/3/temperature";
const VERSIONS: [ProtocolVersion; 2] = [ProtocolVersion::V311, ProtocolVersion::V5];
/// No packet here is longer, and mqttbytes asks for a limit.
const PACKET_BYTES_MAX: usize = 1 << 20;
const LIMITS: DecodeLimits =
    DecodeLimits { packet_bytes_max: PACKET_BYTES_MAX, control_bytes_max: PACKET_BYTES_MAX };

fn header(qos: QoS) -> PublishHeader {
    let packet_id = (qos != QoS::AtMostOnce).then_some(PacketId::FIRST);
    PublishHeader { dup: false, qos, retain: false, packet_id }
}

fn publishes(version: ProtocolVersion, payload_len: usize) -> BytesMut {
    let payload = vec![b'x'; payload_len];
    let mut buffer = BytesMut::new();
    for _ in 0..BATCH {
        encode_parts(&mut buffer, version, header(QoS::AtLeastOnce), TOPIC_NAME, &[], &payload)
            .expect("a valid packet");
    }
    buffer
}

fn pubacks() -> BytesMut {
    let mut buffer = BytesMut::new();
    let mut packet_id = PacketId::FIRST;
    for _ in 0..BATCH {
        encode_success(&mut buffer, AcknowledgementKind::PubAck, packet_id);
        packet_id = packet_id.next();
    }
    buffer
}

/// Reads a whole batch, as one read of a socket brings it, once with each codec.
fn bench_decode(criterion: &mut Criterion, name: &str, version: ProtocolVersion, encoded: &BytesMut) {
    let mut group = criterion.benchmark_group(format!("decode/{name}"));
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function(BenchmarkId::new("mqtt", version), |bencher| {
        let mut packets: Vec<Packet> = Vec::with_capacity(BATCH);
        bencher.iter_batched_ref(
            || encoded.clone(),
            |buffer| {
                decode_all(buffer, version, &LIMITS, &mut packets).expect("valid packets");
                black_box(&packets);
                packets.clear();
            },
            BatchSize::SmallInput,
        );
    });
    group.bench_function(BenchmarkId::new("mqttbytes", version), |bencher| {
        bencher.iter_batched_ref(
            || encoded.clone(),
            |buffer| {
                while !buffer.is_empty() {
                    match version {
                        ProtocolVersion::V311 => drop(black_box(
                            mqttbytes::v4::read(buffer, PACKET_BYTES_MAX).expect("a valid packet"),
                        )),
                        ProtocolVersion::V5 => drop(black_box(
                            mqttbytes::v5::read(buffer, PACKET_BYTES_MAX).expect("a valid packet"),
                        )),
                    }
                }
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn decode_benches(criterion: &mut Criterion) {
    for version in VERSIONS {
        bench_decode(criterion, "publish_64", version, &publishes(version, 64));
        bench_decode(criterion, "puback", version, &pubacks());
    }
    bench_decode(criterion, "publish_4096", ProtocolVersion::V5, &publishes(ProtocolVersion::V5, 4096));
}

fn encode_publish_benches(criterion: &mut Criterion) {
    let payload = bytes::Bytes::from(vec![b'x'; 64]);
    let mut group = criterion.benchmark_group("encode/publish_64");
    group.throughput(Throughput::Elements(BATCH as u64));
    let mut buffer = BytesMut::with_capacity(BATCH * 128);
    for version in VERSIONS {
        let header = header(QoS::AtLeastOnce);
        group.bench_function(BenchmarkId::new("mqtt", version), |bencher| {
            bencher.iter(|| {
                buffer.clear();
                for _ in 0..BATCH {
                    let header = *black_box(&header);
                    encode_parts(&mut buffer, version, header, black_box(TOPIC_NAME), &[], &payload)
                        .expect("a valid packet");
                }
                black_box(&buffer);
            });
        });
    }
    // mqttbytes encodes from a packet; making it (a String for the topic) is left out of the measure.
    let mut v4 = mqttbytes::v4::Publish::from_bytes(TOPIC_NAME, mqttbytes::QoS::AtLeastOnce, payload.clone());
    v4.pkid = 1;
    let mut v5 = mqttbytes::v5::Publish::from_bytes(TOPIC_NAME, mqttbytes::QoS::AtLeastOnce, payload.clone());
    v5.pkid = 1;
    for version in VERSIONS {
        group.bench_function(BenchmarkId::new("mqttbytes", version), |bencher| {
            bencher.iter(|| {
                buffer.clear();
                for _ in 0..BATCH {
                    let written = match version {
                        ProtocolVersion::V311 => black_box(&v4).write(&mut buffer),
                        ProtocolVersion::V5 => black_box(&v5).write(&mut buffer),
                    };
                    written.expect("a valid packet");
                }
                black_box(&buffer);
            });
        });
    }
    group.finish();
}

fn encode_puback_benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode/puback");
    group.throughput(Throughput::Elements(BATCH as u64));
    let mut buffer = BytesMut::with_capacity(BATCH * 4);
    let packet = Packet::PubAck(Acknowledgement::success(PacketId::FIRST));
    group.bench_function("mqtt/packet", |bencher| {
        bencher.iter(|| {
            buffer.clear();
            for _ in 0..BATCH {
                encode(black_box(&packet), ProtocolVersion::V5, &mut buffer).expect("a valid packet");
            }
            black_box(&buffer);
        });
    });
    group.bench_function("mqtt/encode_success", |bencher| {
        bencher.iter(|| {
            buffer.clear();
            for _ in 0..BATCH {
                encode_success(&mut buffer, AcknowledgementKind::PubAck, black_box(PacketId::FIRST));
            }
            black_box(&buffer);
        });
    });
    let theirs = mqttbytes::v5::PubAck::new(1);
    group.bench_function("mqttbytes", |bencher| {
        bencher.iter(|| {
            buffer.clear();
            for _ in 0..BATCH {
                black_box(&theirs).write(&mut buffer).expect("a valid packet");
            }
            black_box(&buffer);
        });
    });
    group.finish();
}

criterion_group!(benches, decode_benches, encode_publish_benches, encode_puback_benches);
criterion_main!(benches);
