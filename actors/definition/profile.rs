//! What a profile fills in where a new definition leaves it open: these services are reached by TLS only.

use serde_json::Value;

use super::BrokerChanges;
use crate::broker::{Broker, Profile, TlsOptions, Transport};

/// What clients with a certificate offer to AWS IoT Core on port 443, where it also speaks HTTP.
const AWS_IOT_ALPN: &str = "x-amzn-mqtt-ca";

impl BrokerChanges {
    fn leaves_open(&self, name: &str) -> bool {
        self.get(name).is_none_or(Value::is_null)
    }

    /// Before the changes are applied: TLS, and with it the port 8883.
    pub(super) fn begin_profile(&mut self, broker: &mut Broker) {
        let profile = self.get("profile").and_then(Value::as_str).and_then(Profile::parse);
        if profile.is_some() && self.leaves_open("use_tls") {
            broker.tls = Some(TlsOptions::default());
            self.given.retain(|(field, _)| field.name != "use_tls");
        }
    }
}

/// After the changes were applied to a new broker: ALPN, where a port serves more than MQTT.
pub(super) fn complete(broker: &mut Broker) {
    let is_aws = broker.profile == Some(Profile::AwsIot) && broker.port == 443;
    if is_aws
        && broker.transport == Transport::Tcp
        && let Some(tls) = broker.tls.as_mut().filter(|tls| tls.alpn.is_empty())
    {
        tls.alpn = vec![AWS_IOT_ALPN.to_owned()];
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::broker::{BrokerId, BrokerSource};

    fn broker(fields: Value) -> Broker {
        let mut changes = BrokerChanges::new().with("name", "a").with("address", "h");
        for (name, value) in fields.as_object().unwrap() {
            changes.set(name, value.clone()).unwrap();
        }
        changes.create(BrokerId(Uuid::nil()), BrokerSource::Stored).unwrap()
    }

    #[test]
    fn a_profile_fills_what_is_open_and_nothing_else() {
        // Fields, TLS, port, ALPN.
        let table = [
            (json!({}), false, 1883, ""),
            (json!({"profile": "aws_iot"}), true, 8883, ""),
            (json!({"profile": "aws_iot", "use_tls": null, "port": null}), true, 8883, ""),
            (json!({"profile": "aws_iot", "port": 443}), true, 443, AWS_IOT_ALPN),
            (json!({"profile": "aws_iot", "port": 443, "tls_alpn": ["mqtt"]}), true, 443, "mqtt"),
            (json!({"profile": "aws_iot", "transport": "ws"}), true, 443, ""),
            (json!({"profile": "aws_iot", "use_tls": false, "port": 443}), false, 443, ""),
            (json!({"profile": "azure_event_grid", "ca_cert_path": "/ca"}), true, 8883, ""),
            (json!({"profile": "hivemq_cloud", "port": 1}), true, 1, ""),
            (json!({"profile": "hivemq_cloud", "use_tls": false}), false, 1883, ""),
        ];
        for (fields, uses_tls, port, alpn) in table {
            let broker = broker(fields.clone());
            let offered = broker.tls.as_ref().map(|tls| tls.alpn.join(",")).unwrap_or_default();
            assert_eq!((broker.tls.is_some(), broker.port, &*offered), (uses_tls, port, alpn), "{fields}");
        }
    }
}
