//! What mappings make of topics, what is refused, and that the way back leads back.

use mqtt::TopicName;
use proptest::prelude::*;

use super::*;

fn rules(rules: &[(&str, &str)]) -> Vec<RewriteRule> {
    rules.iter().map(|(from, to)| RewriteRule::parse(from, to).unwrap()).collect()
}

fn mapping(strip: &str, add: &str, rewrite: &[(&str, &str)]) -> TopicMapping {
    TopicMapping { strip: Some(strip.to_owned()), add: Some(add.to_owned()), rewrite: rules(rewrite) }
}

#[test]
fn what_rules_make_of_topics() {
    for (from, to, topic, mapped) in [
        ("a/+/b/+", "x/{2}/{1}", "a/1/b/2", Some("x/2/1")),
        ("a/+", "x-{1}.y", "a/1", Some("x-1.y")),
        ("a/+", "{1}/{1}", "a/1", Some("1/1")),
        ("a/#", "x/{#}", "a/b/c", Some("x/b/c")),
        ("a/#", "x/{#}", "a/", Some("x/")),
        ("a/#", "x/{#}", "a", Some("x")),
        ("a/#", "x/{#}/y", "a", Some("x/y")),
        ("a/#", "x/{#}/y", "a/b/c", Some("x/b/c/y")),
        ("a/#", "x.{#}", "a", Some("x.")),
        ("#", "x/{#}", "a/b", Some("x/a/b")),
        ("+/+/#", "{2}/{1}/{#}", "a/b/c/d", Some("b/a/c/d")),
        ("a/+", "/{1}", "a/", Some("/")),
        ("a", "{{1}}/}}", "a", Some("{1}/}")),
        ("é/+", "{1}/ü", "é/ö", Some("ö/ü")),
        ("$SYS/+", "sys/{1}", "$SYS/x", Some("sys/x")),
        ("a/#", "$x/{#}", "a/b", Some("$x/b")),
        ("a/+", "x", "b/1", None),
        ("a/+", "x", "a/1/2", None),
        ("a/+", "x", "a", None),
        ("#", "x", "$SYS/a", None),
        ("+/a", "x", "$SYS/a", None),
    ] {
        let rule = RewriteRule::parse(from, to).unwrap();
        assert_eq!(rule.apply(topic).map(Result::unwrap).as_deref(), mapped, "{from} -> {to}: {topic}");
    }
}

#[test]
fn what_is_no_rule() {
    for (from, to, problem) in [
        ("a/+/#b", "x", "from: # must stand alone in the last level"),
        ("$share/g/a", "x", "from: must not be a shared subscription"),
        ("a", "", "to: must not be empty"),
        ("a/+", "x/+", "to: must not have wildcards: write {1}, {2} or {#}"),
        ("a/+", "x/{2}", "to: {2} has no counterpart: from has 1 times +"),
        ("a/+", "x/{#}", "to: {#} has no counterpart: from has no #"),
        ("a/+", "x/{0}", "to: {0} must be a number from 1, as in {1}, or {#}"),
        ("a/+", "x/{one}", "to: {one} must be a number from 1, as in {1}, or {#}"),
        ("a/+", "x/{+1}", "to: {+1} must be a number from 1, as in {1}, or {#}"),
        ("a/+", "x/{1", "to: a { has no }; a brace itself is {{ or }}"),
        ("a/+", "x/1}", "to: a } has no {; a brace itself is {{ or }}"),
        ("a", "x\0", "to: must not have U+0000"),
    ] {
        assert_eq!(RewriteRule::parse(from, to), Err(problem.to_owned()), "{from} -> {to}");
    }
}

#[test]
fn prefixes_go_before_and_come_after_the_rules() {
    let mapping = mapping("site/", "plant1/", &[("t/+", "temperature/{1}"), ("+/+", "{2}")]);
    for (topic, mapped) in [
        ("site/t/1", "plant1/temperature/1"),
        ("t/1", "plant1/temperature/1"),
        ("site/h/1", "plant1/1"),
        ("site/a/b/c", "plant1/a/b/c"),
        ("sites/a/b/c", "plant1/sites/a/b/c"),
        ("site/", "plant1/"),
    ] {
        assert_eq!(mapping.map(topic).as_deref(), Ok(mapped), "{topic}");
    }
}

#[test]
fn a_mapping_that_does_nothing_borrows() {
    for mapping in [TopicMapping::default(), mapping("", "", &[])] {
        assert!(mapping.is_identity());
        assert!(matches!(mapping.map("a/b"), Ok(Cow::Borrowed("a/b"))));
    }
    assert!(!mapping("a/", "", &[]).is_identity());
    assert!(matches!(mapping("a/", "", &[]).map("a/b"), Ok(Cow::Borrowed("b"))));
}

#[test]
fn what_is_no_topic_name_is_not_mapped() {
    let long = "x".repeat(65_530);
    for (mapping, topic, problem) in [
        (mapping("a/", "", &[]), "a/", Unmappable::Empty),
        (mapping("", "", &[("a/#", "{#}")]), "a", Unmappable::Empty),
        (mapping("", "p/", &[("a/#", "{#}")]), "a", Unmappable::Empty),
        (mapping("", "", &[("a/+", "{1}")]), "a/", Unmappable::Empty),
        (mapping("", "prefix/", &[]), &long, Unmappable::TooLong),
        (mapping("", "", &[("+/#", "{1}/{1}")]), &long, Unmappable::TooLong),
        (mapping("", "", &[("a/#", "{#}")]), "a/$SYS/x", Unmappable::Dollar),
        (mapping("", "", &[("a/+", "{1}/x")]), "a/$SYS", Unmappable::Dollar),
        (TopicMapping::default(), "a/+", Unmappable::NotATopicName),
    ] {
        assert_eq!(mapping.map(topic), Err(problem), "{mapping:?}");
    }
}

#[test]
fn a_rule_that_never_has_its_turn_is_refused() {
    let problem = mapping("", "", &[("a/#", "x/{#}"), ("b", "y"), ("a/+/c", "z/{1}")]).check().unwrap_err();
    assert!(
        problem.starts_with("rewrite rule 3 never has its turn: rule 1 (a/#) matches every"),
        "{problem}"
    );
    let problem = mapping("", "", &[("a/+", "x/{1}"), ("a/+", "y/{1}")]).check().unwrap_err();
    assert!(problem.starts_with("rewrite rule 2 never has its turn"), "{problem}");
    assert_eq!(mapping("", "", &[("a/+/c", "z/{1}"), ("a/#", "x/{#}")]).check(), Ok(()));
    assert_eq!(mapping("", "", &[("#", "x/{#}"), ("$SYS/#", "sys/{#}")]).check(), Ok(()));
}

#[test]
fn a_prefix_has_no_wildcards() {
    for (mapping, problem) in [
        (mapping("a/+/", "", &[]), "the prefix to strip must not have wildcards"),
        (mapping("", "a/#", &[]), "the prefix to add must not have wildcards"),
        (mapping("", "a\0", &[]), "the prefix to add must not have U+0000"),
        (mapping("", &"x".repeat(65_535), &[]), "the prefix to add must be shorter than 65,535 bytes"),
    ] {
        assert_eq!(mapping.check(), Err(problem.to_owned()));
    }
}

#[test]
fn the_way_back() {
    let mapping = mapping(
        "site/",
        "plant/",
        &[("t/+/+/#", "x/{2}/y/{1}/{#}"), ("a/{1}", "b/{{1}}"), ("$z/#", "z/{#}")],
    );
    let back = mapping.inverse().unwrap();
    assert_eq!((back.strip.as_deref(), back.add.as_deref()), (Some("plant/"), Some("site/")));
    let texts: Vec<_> = back.rewrite.iter().map(|rule| (rule.from().as_str(), rule.to())).collect();
    assert_eq!(texts, [("x/+/y/+/#", "t/{2}/{1}/{#}"), ("b/{1}", "a/{{1}}"), ("z/#", "$z/{#}")]);
    assert_eq!(TopicMapping::default().inverse(), Ok(TopicMapping::default()));
}

#[test]
fn what_has_no_way_back_says_which_rule_is_at_fault() {
    for (rewrite, problem) in [
        (&[("b", "y"), ("a/+", "x")][..], "rewrite rule 2: cannot be undone: it does not use {1}"),
        (&[("a/#", "x")], "rewrite rule 1: cannot be undone: it does not use {#}"),
        (&[("a/+", "{1}/{1}")], "rewrite rule 1: cannot be undone: it uses {1} twice"),
        (&[("a/#", "x/{#}/y")], "rewrite rule 1: cannot be undone: {#} must be the last level"),
        (
            &[("a/+", "x-{1}")],
            "rewrite rule 1: cannot be undone: {1}, {2} and {#} must each be a whole level",
        ),
        (&[("a/+", "x/{1}"), ("b/+", "{1}/y")], "rewrite rules 1 and 2 cannot be undone: both lead to x/y"),
        (
            &[("a/#", "x/{#}"), ("b/+", "x/y/{1}")],
            "rewrite rules 1 and 2 cannot be undone: both lead to x/y/x",
        ),
        (
            &[("a", "$share/g/a")],
            "rewrite rule 1: cannot be undone: the way back has from: must not be a shared subscription",
        ),
    ] {
        assert_eq!(mapping("", "", rewrite).inverse(), Err(problem.to_owned()));
    }
}

/// Topics with few different levels, so that rules match them.
fn topics() -> impl Strategy<Value = String> {
    let level = prop::sample::select(vec!["a", "b", "p", "", "$s", "é", "{1}"]);
    let topic = prop::collection::vec(level, 1..6).prop_map(|levels| levels.join("/"));
    topic.prop_filter("a Topic Name", |topic| !topic.is_empty())
}

fn rule() -> impl Strategy<Value = RewriteRule> {
    let from = prop::collection::vec(prop::sample::select(vec!["a", "b", "+", "$s", "{1}"]), 1..4);
    let to = prop::sample::select(vec!["a", "b", "{1}", "{2}", "{{1}}", "{1}-x", "$s", ""]);
    let to = prop::collection::vec(to, 1..4);
    (from, to, any::<bool>(), any::<bool>()).prop_filter_map("a rule", |(from, to, rest, keeps_rest)| {
        let from = from.join("/") + if rest { "/#" } else { "" };
        let to = to.join("/") + if rest && keeps_rest { "/{#}" } else { "" };
        RewriteRule::parse(&from, &to).ok()
    })
}

fn prefix() -> impl Strategy<Value = Option<String>> {
    prop::option::of(prop::sample::select(vec!["", "p/", "p", "a/b/", "$s/"]).prop_map(str::to_owned))
}

fn mappings() -> impl Strategy<Value = TopicMapping> {
    (prefix(), prefix(), prop::collection::vec(rule(), 0..3)).prop_map(|(strip, add, rewrite)| TopicMapping {
        strip,
        add,
        rewrite,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn what_is_mapped_is_a_topic_name(mapping in mappings(), topic in topics()) {
        if let Ok(mapped) = mapping.map(&topic) {
            prop_assert!(TopicName::new(mapped.into_owned()).is_ok());
        }
    }

    #[test]
    fn there_and_back_is_where_it_began(mapping in mappings(), topic in topics()) {
        let Ok(back) = mapping.inverse() else { return Ok(()) };
        let Some(rest) = topic.strip_prefix(mapping.stripped()) else { return Ok(()) };
        let is_matched =
            mapping.rewrite.is_empty() || mapping.rewrite.iter().any(|rule| rule.apply(rest).is_some());
        if let Ok(mapped) = mapping.map(&topic)
            && is_matched
        {
            let returned = back.map(&mapped);
            prop_assert_eq!(returned.as_deref(), Ok(topic.as_str()), "by way of {}", mapped);
        }
    }

    #[test]
    fn the_way_back_of_the_way_back_is_the_way(mapping in mappings()) {
        if let Ok(back) = mapping.inverse()
            && let Ok(again) = back.inverse()
        {
            prop_assert_eq!(again, mapping);
        }
    }

    #[test]
    fn no_text_makes_it_panic(from in ".{0,12}", to in "[{}#/a1+é]{0,12}", topic in ".{0,12}", prefix in ".{0,3}") {
        let rewrite = RewriteRule::parse(&from, &to).into_iter().collect();
        let mapping = TopicMapping { strip: Some(prefix.clone()), add: Some(prefix), rewrite };
        if let Ok(mapped) = mapping.map(&topic) {
            prop_assert!(TopicName::new(mapped.into_owned()).is_ok());
        }
        let _ = (mapping.check(), mapping.inverse());
    }
}
