//! Chapters 4.10 and 4.11: request and response over the proxy, and no redirection to another server.

use super::scene::Scene;
use crate::support::Version;
use crate::support::packets::{self, Publish, Value, find, property};

/// Property Server Reference (text).
const SERVER_REFERENCE: u8 = 0x1C;

#[test]
fn a_request_is_answered_where_it_asks_to_be() {
    let scene = Scene::new(Version::V5);
    let (service, answers) = (scene.topic("service"), scene.topic("answers/1"));
    let mut responder = scene.device("responder");
    responder.subscribe(&service, 1);
    let mut requesters = [scene.device("a"), scene.device("b")];
    for (number, requester) in requesters.iter_mut().enumerate() {
        let mine = format!("{answers}/{number}");
        requester.subscribe(&mine, 1);
        let request = Publish::new(&service, format!("question {number}")).qos(1);
        let request = request.property(property::RESPONSE_TOPIC, Value::Text(mine));
        let correlation = Value::Binary(vec![0, 0xFF, u8::try_from(number).expect("small")]);
        requester.publish(request.property(property::CORRELATION_DATA, correlation));
    }
    for _ in 0..2 {
        let request = responder.receive();
        let Some(Value::Text(topic)) = find(&request.properties, property::RESPONSE_TOPIC) else {
            panic!("{request:?} has no Response Topic");
        };
        let correlation = find(&request.properties, property::CORRELATION_DATA).expect("it was sent");
        let response = Publish::new(topic, request.text().replace("question", "answer")).qos(1);
        responder.publish(response.property(property::CORRELATION_DATA, correlation.clone()));
    }
    for (number, requester) in requesters.iter_mut().enumerate() {
        let response = requester.receive();
        let wanted = vec![0, 0xFF, u8::try_from(number).expect("small")];
        assert_eq!(response.text(), format!("answer {number}"));
        assert_eq!(response.properties, [(property::CORRELATION_DATA, Value::Binary(wanted))]);
    }
}

#[test]
fn a_response_that_nobody_waits_for_is_accepted() {
    let scene = Scene::new(Version::V5);
    let request = Publish::new(&scene.topic("service"), "question").qos(2);
    let topic = Value::Text(scene.topic("nobody"));
    scene.device("requester").publish(request.property(property::RESPONSE_TOPIC, topic));
    let response = Publish::new(&scene.topic("nobody"), "answer").qos(2);
    scene.device("responder").publish(response);
}

#[test]
fn nobody_is_sent_to_another_server() {
    let scene = Scene::new(Version::V5);
    let connect = scene.lasting("device");
    let mut first = scene.talker_with(&connect);
    assert_eq!(find(&first.connack.properties, SERVER_REFERENCE), None);
    let second = scene.talker_with(&connect);
    assert_eq!(find(&second.connack.properties, SERVER_REFERENCE), None);
    let told = first.wire.until_close();
    let [packet] = told.as_slice() else { panic!("one DISCONNECT: {told:?}") };
    assert_eq!((packet.kind(), packet.disconnect_reason()), (packets::kind::DISCONNECT, 0x8E));
    // Reason Code and, where there is more, a property length: no Server Reference (0x1C) in it.
    let properties = packet.body.get(2..).unwrap_or_default();
    assert!(properties.first() != Some(&SERVER_REFERENCE), "{packet:?}");
}
