//! What two Topic Filters have to do with each other: whether one covers the other, and whether they meet. A wildcard
//! in the first level matches no name that starts with `$` `[MQTT-4.7.2-1]`.

/// Whether every topic that `narrow` matches is matched by `wide` as well.
pub fn covers(wide: &str, narrow: &str) -> bool {
    if narrow.starts_with('$') && wide.starts_with(['+', '#']) {
        return false;
    }
    // A name has at least one level, so here these two mean the same.
    if wide == "+/#" && narrow == "#" {
        return true;
    }
    let (mut wide, mut narrow) = (wide.split('/'), narrow.split('/'));
    loop {
        match (wide.next(), narrow.next()) {
            (Some("#"), _) | (None, None) => return true,
            (_, None | Some("#")) | (None, _) => return false,
            (Some("+"), Some(_)) => {}
            (Some(wide), Some(narrow)) => {
                if wide != narrow {
                    return false;
                }
            }
        }
    }
}

/// A topic that both filters match, where there is one.
pub fn meeting(left: &str, right: &str) -> Option<String> {
    let is_wild = |filter: &str| filter.starts_with(['+', '#']);
    if (left.starts_with('$') && is_wild(right)) || (right.starts_with('$') && is_wild(left)) {
        return None;
    }
    let mut levels = Vec::new();
    let (mut left_levels, mut right_levels) = (left.split('/'), right.split('/'));
    loop {
        match (left_levels.next(), right_levels.next()) {
            (None, None) => break,
            // `#` matches the rest of the other filter, whatever that is, and nothing where there is no rest.
            (Some("#"), rest) => {
                levels.extend(rest.into_iter().chain(right_levels));
                break;
            }
            (rest, Some("#")) => {
                levels.extend(rest.into_iter().chain(left_levels));
                break;
            }
            (None, _) | (_, None) => return None,
            (Some("+"), Some(level)) | (Some(level), Some("+")) => levels.push(level),
            (Some(left), Some(right)) if left == right => levels.push(left),
            _ => return None,
        }
    }
    let any = |level| if matches!(level, "+" | "#") { "x" } else { level };
    let topic = levels.into_iter().map(any).collect::<Vec<_>>().join("/");
    // A single empty level is no Topic Name.
    Some(topic).filter(|topic| !topic.is_empty())
}

#[cfg(test)]
mod tests {
    use mqtt::{TopicFilter, TopicName};
    use proptest::prelude::*;

    use super::*;

    fn filters() -> impl Strategy<Value = String> {
        let levels = prop::collection::vec(prop::sample::select(vec!["a", "b", "+", "", "$s"]), 1..4);
        (levels, any::<bool>()).prop_filter_map("a Topic Filter", |(levels, rest)| {
            let filter = levels.join("/") + if rest { "/#" } else { "" };
            TopicFilter::new(filter.clone()).is_ok().then_some(filter)
        })
    }

    fn topics() -> impl Strategy<Value = String> {
        let level = prop::sample::select(vec!["a", "b", "c", "", "$s"]);
        let topic = prop::collection::vec(level, 1..6).prop_map(|levels| levels.join("/"));
        topic.prop_filter("a Topic Name", |topic| !topic.is_empty())
    }

    fn matches(filter: &str, topic: &str) -> bool {
        TopicFilter::new(filter.to_owned()).unwrap().matches(&TopicName::new(topic.to_owned()).unwrap())
    }

    #[test]
    fn what_covers_what() {
        for (wide, narrow) in [
            ("#", "a/b"),
            ("#", "+/+"),
            ("+/#", "#"),
            ("#", "+/#"),
            ("a/#", "a"),
            ("a/#", "a/#"),
            ("a/+", "a/b"),
            ("$SYS/#", "$SYS/a/+"),
        ] {
            assert!(covers(wide, narrow), "{wide} covers {narrow}");
        }
        for (wide, narrow) in
            [("a/+", "a/#"), ("a/+/#", "a/#"), ("#", "$SYS/a"), ("+/a", "$SYS/a"), ("a", "a/#"), ("a/b", "a")]
        {
            assert!(!covers(wide, narrow), "{wide} does not cover {narrow}");
        }
    }

    #[test]
    fn where_filters_meet() {
        for (left, right, topic) in [
            ("a/+", "+/b", Some("a/b")),
            ("a/#", "a", Some("a")),
            ("a/#", "a/b/+", Some("a/b/x")),
            ("#", "#", Some("x")),
            ("+/#", "#", Some("x/x")),
            ("a/+", "b/+", None),
            ("a", "a/b", None),
            ("#", "$SYS/a", None),
            ("/#", "+", None),
            ("/#", "+/#", Some("/x")),
            ("#", "/#", Some("/x")),
        ] {
            assert_eq!(meeting(left, right).as_deref(), topic, "{left} {right}");
            assert_eq!(meeting(right, left).as_deref(), topic, "{right} {left}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3_000))]

        #[test]
        fn what_is_covered_matches_nothing_else(wide in filters(), narrow in filters(), topic in topics()) {
            if covers(&wide, &narrow) && matches(&narrow, &topic) {
                prop_assert!(matches(&wide, &topic));
            }
        }

        #[test]
        fn a_meeting_is_where_both_match(left in filters(), right in filters(), topic in topics()) {
            match meeting(&left, &right) {
                Some(met) => prop_assert!(matches(&left, &met) && matches(&right, &met), "{}", met),
                None => prop_assert!(!(matches(&left, &topic) && matches(&right, &topic))),
            }
        }
    }
}
