//! The first bytes of every payload: which publisher sent it, its place in that publisher's messages, and when.

/// How many bytes of a payload a stamp takes; no payload may be smaller.
pub const STAMP_BYTES: usize = 20;

#[derive(Clone, Copy)]
pub struct Stamp {
    pub publisher: u32,
    pub sequence: u64,
    pub sent_nanos: u64,
}

impl Stamp {
    pub fn write(self, payload: &mut [u8]) {
        payload[..4].copy_from_slice(&self.publisher.to_le_bytes());
        payload[4..12].copy_from_slice(&self.sequence.to_le_bytes());
        payload[12..20].copy_from_slice(&self.sent_nanos.to_le_bytes());
    }

    pub fn read(payload: &[u8]) -> Option<Stamp> {
        let (publisher, rest) = payload.split_first_chunk::<4>()?;
        let (sequence, rest) = rest.split_first_chunk::<8>()?;
        let (sent, _) = rest.split_first_chunk::<8>()?;
        Some(Stamp {
            publisher: u32::from_le_bytes(*publisher),
            sequence: u64::from_le_bytes(*sequence),
            sent_nanos: u64::from_le_bytes(*sent),
        })
    }
}
