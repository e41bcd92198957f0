//! Random numbers that a seed repeats.

/// A source of random numbers (SplitMix64).
pub struct Random(u64);

impl Random {
    /// The same seed brings the same numbers.
    pub fn seeded(seed: u64) -> Random {
        Random(seed)
    }

    /// A seed from the environment variable `SEED`, or one that nobody knows; it is printed, so that a failed run
    /// can be repeated.
    pub fn announced(what: &str) -> Random {
        let chosen = std::env::var("SEED").ok().and_then(|text| text.parse().ok());
        let seed = chosen.unwrap_or_else(|| {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            now.map_or(1, |elapsed| elapsed.subsec_nanos().into())
        });
        eprintln!("{what}: seed {seed}");
        Random::seeded(seed)
    }

    /// Any number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// True once in `times` times.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}
