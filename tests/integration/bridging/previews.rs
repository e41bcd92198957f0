//! What a preview says is what happens: messages and definitions by chance, and real brokers as judges.

use serde_json::{Value as Json, json};

use crate::support::device::Device;
use crate::support::keeper::Keeper;
use crate::support::packets::Publish;
use crate::support::proxy::Proxy;
use crate::support::random::Random;
use crate::support::rest::local_broker;
use crate::support::{Version, wait_until};

const LEVELS: [&str; 4] = ["a", "b", "c", "site"];
const FILTERS: [&str; 10] = ["#", "a/#", "+/b", "a/+/c", "a", "b/c", "site/#", "+", "c/+/#", "a/b/c"];

fn one<'a, T: ?Sized>(random: &mut Random, from: &[&'a T]) -> &'a T {
    from[random.below(from.len())]
}

fn filters(random: &mut Random, most: usize) -> Json {
    (0..random.below(most + 1)).map(|_| one(random, &FILTERS).to_owned()).collect()
}

/// A definition by chance.
fn definition(random: &mut Random, name: &str, keeper: &Keeper) -> Json {
    let mut definition = local_broker(name, keeper.port(), Version::BOTH[random.below(2)]);
    definition["topics"] = filters(random, 3);
    definition["exclude_topics"] = filters(random, 1);
    if random.one_in(2) {
        definition["topic_prefix_strip"] = json!(one(random, &["a/", "site/", "b/"]));
    }
    if random.one_in(2) {
        definition["topic_prefix_add"] = json!(one(random, &["site/", "x/y/"]));
    }
    if random.one_in(2) {
        let rules = [
            json!({"from": "a/+/c", "to": "{1}/seen"}),
            json!({"from": "b/#", "to": "under/b/{#}"}),
            json!({"from": "+/b/#", "to": "turned/{#}/{1}"}),
        ];
        definition["rewrite"] = json!([rules[random.below(3)]]);
    }
    if random.one_in(3) {
        definition["max_qos"] = json!(random.below(2));
    }
    definition["retain"] = json!(one(random, &["keep", "clear", "set"]));
    if random.one_in(3) {
        definition["max_payload_bytes"] = json!(20);
    }
    definition
}

/// A message by chance, with a payload that no other one has.
fn message(random: &mut Random, number: usize) -> Publish {
    let levels: Vec<&str> = (0..1 + random.below(3)).map(|_| one(random, &LEVELS)).collect();
    let mut payload = format!("m-{number:05}");
    if random.one_in(4) {
        payload.push_str(&"-".repeat(30));
    }
    let message = Publish::new(&levels.join("/"), payload).qos(1 + random.below(2) as u8);
    if random.one_in(3) { message.retained() } else { message }
}

#[test]
fn what_a_preview_says_comes_to_pass() {
    let mut random = Random::announced("previews");
    let keepers: [Keeper; 6] = std::array::from_fn(|_| Keeper::start());
    let proxy = Proxy::start();
    let rest = proxy.rest();
    let names: Vec<String> = (0..keepers.len()).map(|place| format!("broker-{place}")).collect();
    let definitions: Vec<Json> = names
        .iter()
        .zip(&keepers)
        .map(|(name, keeper)| {
            let definition = definition(&mut random, name, keeper);
            rest.wait_connected(&rest.add(&definition));
            definition
        })
        .collect();
    let mut device = Device::connect(proxy.mqtt(), Version::V5, "device");
    let mut promised: Vec<Vec<Publish>> = vec![Vec::new(); keepers.len()];
    for number in 0..150 {
        let message = message(&mut random, number);
        let body = json!({
            "topic": message.topic, "qos": message.qos, "retain": message.retain,
            "payload_bytes": message.payload.len(),
        });
        let reply = rest.post("/api/brokers/preview", &body);
        assert_eq!(reply.status, 200, "{body}: {}", reply.body);
        let answer = reply.json();
        for outcome in answer["brokers"].as_array().expect("a list") {
            let place = names.iter().position(|name| outcome["name"] == *name).expect("a broker of ours");
            if outcome["forwarded"] == true {
                promised[place].push(Publish {
                    topic: outcome["topic"].as_str().expect("a topic").to_owned(),
                    qos: u8::try_from(outcome["qos"].as_u64().expect("a QoS")).expect("0, 1 or 2"),
                    retain: outcome["retain"].as_bool().expect("a flag"),
                    ..message.clone()
                });
            } else {
                assert!(outcome["reason"].is_string(), "{outcome}");
            }
        }
        device.publish(message);
    }
    names.iter().for_each(|name| rest.wait_caught_up(&rest.id_of(name)));
    for ((keeper, promised), definition) in keepers.iter().zip(&promised).zip(&definitions) {
        wait_until("what was promised is there", || keeper.count() >= promised.len());
        let plain = |message: &Publish| (message.text(), message.topic.clone(), message.qos, message.retain);
        let mut got: Vec<_> = keeper.messages().iter().map(plain).collect();
        let mut wanted: Vec<_> = promised.iter().map(plain).collect();
        got.sort();
        wanted.sort();
        assert_eq!(got, wanted, "{definition}");
    }
}
