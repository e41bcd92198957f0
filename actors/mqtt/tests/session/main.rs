//! Whole client sessions under scripts that nobody wrote: a server that says anything, and a link that breaks at
//! any byte. The fuzz targets play the same scripts, guided by coverage.

#[path = "../../fuzz/hostile.rs"]
mod hostile;
#[path = "../../fuzz/lossy.rs"]
mod lossy;
#[path = "../../fuzz/script.rs"]
mod script;

use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_hostile_server_meets_reason_codes_and_limits(script in prop::collection::vec(any::<u8>(), 0..2_000)) {
        hostile::check(&script);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_link_that_breaks_loses_and_repeats_only_what_the_qos_allows(
        script in prop::collection::vec(any::<u8>(), 0..3_000),
    ) {
        lossy::check(&script);
    }
}
