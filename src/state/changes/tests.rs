use super::*;

const WINDOW: Duration = Duration::from_secs(900);

/// A newcomer takes the place of one that has just left, too.
const SUCCESSION: Succession = Succession {
    confirm: Duration::ZERO,
    window: WINDOW,
};

/// A newcomer counts by the next check, as with the usual flags.
const CONFIRMING: Succession = Succession {
    confirm: Duration::from_secs(5),
    window: WINDOW,
};

const fn at(second: i64) -> Timestamp {
    Timestamp::from_seconds(1_790_000_000 + second)
}

/// `id:version@pod`, the latter two where they matter.
fn instance(word: &str) -> Instance {
    let (word, pod) = word.split_once('@').unwrap_or((word, ""));
    let (id, version) = word.split_once(':').unwrap_or((word, "1"));
    let metadata = [("app", "orders"), ("pod", pod)].map(|(key, value)| (key.to_owned(), value.to_owned()));
    Instance {
        id: id.into(),
        version: version.into(),
        metadata: metadata.into_iter().filter(|(_, value)| !value.is_empty()).collect(),
    }
}

fn answers(words: &str) -> Vec<InstanceReply> {
    let answer = |word| InstanceReply {
        instance: instance(word),
        rtt: None,
    };
    words.split_whitespace().map(answer).collect()
}

/// A change in one word: `+new` arrived, `+new=old` in its place, `?id` missing, `-id` left.
fn told(changes: &Changes) -> String {
    let word = |change: &Change| match (&change.what, &change.instance.id) {
        (ChangeKind::Arrived { replaces: None }, id) => format!("+{id}"),
        (ChangeKind::Arrived { replaces: Some(old) }, id) => format!("+{id}={old}"),
        (ChangeKind::Missing, id) => format!("?{id}"),
        (ChangeKind::Left, id) => format!("-{id}"),
    };
    changes.log.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// Each epoch: its second, who answers, and who is gone, or with `~` silent where the server does not say who is gone. ChangeKind has changed at the end, and how many restarts there were.
type Epochs<'a> = &'a [(i64, &'a str, &'a str)];

fn run(epochs: Epochs<'_>) -> Changes {
    run_with(SUCCESSION, epochs, |_| ())
}

fn run_confirming(epochs: Epochs<'_>) -> Changes {
    run_with(CONFIRMING, epochs, |_| ())
}

/// `shorten`: what is done to the log after each epoch.
fn run_with(succession: Succession, epochs: Epochs<'_>, shorten: impl Fn(&mut Changes)) -> Changes {
    let mut before: Vec<Instance> = Vec::new();
    let mut changes: Option<Changes> = None;
    for (second, there, gone) in epochs {
        let answers = answers(there);
        let fate = |id: &str| match id.strip_prefix('~') {
            Some(id) => (id.to_owned(), Fate::NotAnswering),
            None => (id.to_owned(), Fate::Gone),
        };
        let absent: Vec<(String, Fate)> = gone.split_whitespace().map(fate).collect();
        if !before.is_empty() {
            let epochs = super::Epochs {
                before: &before,
                with_versions: 256,
                at: at(*second),
                answers: &answers,
                absent: &absent,
                hidden: gone.contains('~'),
                away_since: None,
            };
            let mut next = Changes::after(changes.as_ref(), epochs, succession);
            shorten(&mut next);
            changes = Some(next);
        }
        before = answers.into_iter().map(|answer| answer.instance).collect();
    }
    changes.unwrap_or_default()
}

#[test]
fn arrivals_and_departures_are_recorded() {
    let cases: &[(Epochs<'_>, &str, u64)] = &[
        (&[(0, "a b", ""), (60, "a b", "")], "", 0),
        // Scaled up, and down again.
        (&[(0, "a", ""), (60, "a b c", "")], "+b +c", 0),
        (&[(0, "a", ""), (60, "a b", ""), (120, "a", "b")], "+b -b", 0),
        // Killed, and another one in its place: between two epochs, or seen to be missing.
        (&[(0, "a b", ""), (60, "a c", "b")], "-b +c=b", 1),
        (&[(0, "a b", ""), (60, "a", "b"), (120, "a c", "")], "-b +c=b", 1),
        // A crash loop.
        (
            &[(0, "a b", ""), (60, "a c", "b"), (120, "a", "c"), (180, "a d", "")],
            "-b +c=b -c +d=c",
            2,
        ),
        // It hung first, and nobody knew whether it was gone.
        (&[(0, "a b", ""), (60, "a", ""), (120, "a c", "b")], "-b +c=b", 1),
        (&[(0, "a b", ""), (60, "a c", "")], "?b +c", 0),
        // It became known later that it was gone before the other one came.
        (&[(0, "a b", ""), (60, "a c", ""), (120, "a c", "b")], "+c=b -b", 1),
        (&[(0, "a b", ""), (60, "a b c", ""), (120, "a c", "b")], "+c -b", 0),
        // The server does not say who is gone: silence does not count at once, and not without another one.
        (&[(0, "a b", ""), (60, "a c", "~b")], "?b +c", 0),
        (&[(0, "a b", ""), (60, "a c", "~b"), (120, "a c", "~b")], "?b +c=b", 1),
        (&[(0, "a b", ""), (60, "a", "~b"), (120, "a c", "~b")], "?b +c=b", 1),
        (&[(0, "a b", ""), (60, "a", "~b"), (120, "a", "~b")], "?b", 0),
        (&[(0, "a b", ""), (60, "a c:2", "~b"), (120, "a c:2", "~b")], "?b +c", 0),
        (
            &[
                (0, "a b", ""),
                (60, "a b c", ""),
                (120, "a c", "~b"),
                (180, "a c", "~b"),
            ],
            "+c ?b",
            0,
        ),
        (
            &[
                (0, "a b", ""),
                (60, "a c", "~b"),
                (120, "a d", "~b ~c"),
                (180, "a e", "~c ~d"),
                (240, "a e", "~d"),
            ],
            "?b +c=b ?c +d=c ?d +e=d",
            3,
        ),
        // It was only frozen, and thaws: what was counted stays in the total only.
        (
            &[
                (0, "a b", ""),
                (60, "a c", "~b"),
                (120, "a c", "~b"),
                (180, "a b c", ""),
            ],
            "+c",
            1,
        ),
        // Slow, and back.
        (&[(0, "a b", ""), (60, "a", ""), (120, "a b", "")], "", 0),
        // So it was with one that the server did not know for a moment.
        (&[(0, "a b", ""), (60, "a", "b"), (120, "a b", "")], "", 0),
        // And another one that came meanwhile did not take its place. The count stays.
        (
            &[(0, "a b", ""), (60, "a", "b"), (120, "a c", ""), (180, "a b c", "")],
            "+c",
            1,
        ),
        // Other versions: a rolling deployment, with surge and without.
        (
            &[
                (0, "a b", ""),
                (60, "a b c:2", ""),
                (120, "b c:2", "a"),
                (180, "b c:2 d:2", ""),
                (240, "c:2 d:2", "b"),
            ],
            "+c -a +d -b",
            0,
        ),
        (
            &[(0, "a b", ""), (60, "b c:2", "a"), (120, "c:2 d:2", "b")],
            "-a +c -b +d",
            0,
        ),
        // A crash in the middle of it is one.
        (
            &[(0, "a b", ""), (60, "b c:2", "a"), (120, "b d:2", "c")],
            "-a +c -c +d=c",
            1,
        ),
        // A restart of all, one by one: of the same version, that is what it is.
        (
            &[(0, "a b", ""), (60, "b c", "a"), (120, "c d", "b")],
            "-a +c=a -b +d=b",
            2,
        ),
        // The same place is the best reason to believe that it is the same one.
        (
            &[
                (0, "a@p1 b@p2 c@p3", ""),
                (60, "a@p1", "b c"),
                (120, "a@p1 x@p3 y@p4", ""),
            ],
            "-b -c +x=c +y=b",
            2,
        ),
        // Too long ago.
        (&[(0, "a b", ""), (60, "a", "b"), (960, "a c", "")], "-b +c", 0),
        (&[(0, "a b", ""), (60, "a", "b"), (959, "a c", "")], "-b +c=b", 1),
        // A clock that went back.
        (&[(0, "a b", ""), (60, "a", "b"), (-500, "a c", "")], "-b +c=b", 1),
        // Nobody takes two places, and no place is taken twice.
        (&[(0, "a b c", ""), (60, "a d", "b c")], "-b -c +d=b", 1),
        (&[(0, "a b", ""), (60, "a c d", "b")], "-b +c=b +d", 1),
        // Somebody else's fate is no news.
        (&[(0, "a b", ""), (60, "a b", "x")], "", 0),
    ];
    for (epochs, expected, restarts) in cases {
        let changes = run(epochs);
        assert_eq!(
            (told(&changes).as_str(), changes.restarts),
            (*expected, *restarts),
            "{epochs:?}"
        );
        let within = changes.restarts_within(KEPT, at(1000));
        let replaced = expected.matches('=').count();
        assert_eq!(within.len(), replaced, "{epochs:?}");
    }
}

#[test]
fn restarts_are_presumed_until_the_server_says_who_is_gone() {
    let silent = [(0, "a b", ""), (60, "a c", "~b"), (120, "a c", "~b")];
    let presumed = |changes: &Changes| {
        let restarts = changes.restarts_within(WINDOW, at(120));
        restarts
            .iter()
            .map(|restart| changes.is_presumed(restart))
            .collect::<Vec<_>>()
    };
    let changes = run(&silent);
    assert_eq!(presumed(&changes), [true]);
    // It is not asked any more.
    assert_eq!(changes.in_doubt(at(120)).count(), 0);
    let gone = [silent[0], silent[1], silent[2], (120, "a c", "b")];
    assert_eq!(presumed(&run(&gone)), [false]);
}

#[test]
fn a_window_ends() {
    let changes = run(&[(0, "a b", ""), (60, "a c", "b"), (120, "a d", "c")]);
    for (second, expected) in [(120, 2), (959, 2), (960, 1), (1019, 1), (1020, 0)] {
        assert_eq!(changes.restarts_within(WINDOW, at(second)).len(), expected, "{second}");
    }
    assert_eq!(changes.restarts, 2);
}

#[test]
fn doubtful_instances_are_asked_for_a_while() {
    let changes = run(&[(0, "a b c", ""), (60, "a", "c")]);
    for (second, expected) in [(60, &["b"][..]), (959, &["b"]), (960, &[])] {
        let in_doubt: Vec<&str> = changes.in_doubt(at(second)).collect();
        assert_eq!(in_doubt, expected, "{second}");
    }
}

#[test]
fn old_instances_are_distinguished_from_new_ones() {
    // Two came; then one of them left, and an old one.
    let changes = run(&[(0, "a b", ""), (60, "a b c d", ""), (120, "b d", "a c")]);
    for (second, since, expected) in [(120, 60, 1), (120, 61, 2), (60, 60, 0), (121, 60, 0)] {
        assert_eq!(
            changes.old_ones_left(at(second), at(since)),
            expected,
            "{second} {since}"
        );
    }
    // It left when the server said so, however long it had been missing.
    let changes = run(&[(0, "a b", ""), (60, "a", ""), (120, "a", "b")]);
    assert_eq!(changes.old_ones_left(at(120), at(120)), 1);
}

/// With seldom checks, too: a restart counts by the next one, and is judged by it.
#[test]
fn restarts_between_seldom_checks_count() {
    let changes = run_confirming(&[(0, "a b", ""), (960, "a c", "b"), (1920, "a d", "c"), (2880, "a d", "")]);
    assert_eq!((told(&changes).as_str(), changes.restarts), ("-b +c=b -c +d=c", 2));
    let before = run_confirming(&[(0, "a b", ""), (960, "a c", "b"), (1920, "a d", "c")]);
    let judged = |second: i64, before: &Changes| {
        let restarts = changes.restarts_to_judge(WINDOW, at(second), Some(before));
        let ids = restarts.iter().map(|restart| restart.instance.id.as_str());
        ids.collect::<Vec<_>>()
    };
    assert_eq!(judged(2880, &before), ["d"]);
    // It was judged then, and is not once more.
    assert_eq!((judged(2819, &changes), judged(2820, &changes)), (vec!["d"], vec![]));
    // Who came long after somebody had left took no place.
    let changes = run_confirming(&[(0, "a b", ""), (60, "a", "b"), (1000, "a c", ""), (1060, "a c", "")]);
    assert_eq!((told(&changes).as_str(), changes.restarts), ("-b +c", 0));
}

/// A restart of all instances counts by the next check, as far as there is room for it: half of what came and half of what left.
#[test]
fn a_short_log_keeps_those_that_may_have_restarted() {
    let all =
        |from: usize, to: usize, version: &str| (from..to).map(|n| format!("i{n}:{version} ")).collect::<String>();
    let ids = |from: usize, to: usize| (from..to).map(|n| format!("i{n} ")).collect::<String>();
    let run = |epochs: Epochs<'_>| {
        run_with(CONFIRMING, epochs, |changes| {
            changes.keep(8);
            assert!(changes.log.len() <= 8);
        })
    };
    let (old, new) = (all(0, 8, "1"), all(8, 16, "1"));
    let changes = run(&[(0, &old, ""), (60, &new, &ids(0, 8)), (120, &new, "")]);
    assert_eq!(changes.restarts, 4);
    let (old, new) = (all(0, 4, "1"), all(4, 8, "1"));
    let changes = run(&[(0, &old, ""), (60, &new, &ids(0, 4)), (120, &new, "")]);
    assert_eq!(changes.restarts, 4);
    // Again and again.
    let third = all(8, 12, "1");
    let twice = run(&[
        (0, &old, ""),
        (60, &new, &ids(0, 4)),
        (120, &third, &ids(4, 8)),
        (180, &third, ""),
    ]);
    assert_eq!(twice.restarts, 8);
    // A deployment makes none.
    let changes = run(&[
        (0, &old, ""),
        (60, &all(4, 12, "2"), &ids(0, 4)),
        (120, &all(4, 12, "2"), ""),
    ]);
    assert_eq!((changes.restarts, told(&changes).matches('-').count()), (0, 4));
}

#[test]
fn change_log_is_bounded_and_keeps_the_restarts() {
    let all = |from: usize, to: usize| (from..to).map(|n| format!("i{n} ")).collect::<String>();
    // A hundred restarts, and then a crowd.
    let (old, new) = (all(0, 100), all(100, 200));
    let crowd = new.clone() + &all(1000, 6000);
    let changes = run(&[(0, &old, ""), (60, &new, &old), (120, &crowd, "")]);
    assert_eq!(changes.log.len(), MAX_CHANGES);
    assert_eq!(changes.restarts_within(WINDOW, at(120)).len(), MAX_RESTARTS);
    // Of those without a version nobody tells what took their places.
    let before: Vec<Instance> = answers(&old).into_iter().map(|answer| answer.instance).collect();
    let epochs = super::Epochs {
        before: &before,
        with_versions: 10,
        at: at(60),
        answers: &answers("i100"),
        absent: &[],
        hidden: false,
        away_since: None,
    };
    let changes = Changes::after(None, epochs, SUCCESSION);
    assert_eq!(changes.log.len(), 11);
    // A day later it is all forgotten, but for the number.
    let changes = run(&[(0, "a b", ""), (60, "a c", "b"), (60 + 86_400, "a c", "")]);
    assert_eq!((changes.log.len(), changes.restarts), (0, 1));
}

/// Whatever happens: the number never falls, nobody is remembered twice as gone, and whoever answers is not gone.
#[test]
fn random_histories_keep_the_invariants_of_changes() {
    let mut seed = 1_u64;
    let mut random = move |below: u64| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let mut before: Vec<Instance> = Vec::new();
    let mut changes: Option<Changes> = None;
    let mut second = 0;
    for _ in 0..5_000 {
        second += random(300) as i64 - 20;
        let words: String = (0..12)
            .filter(|_| random(3) > 0)
            .map(|n| format!("i{n}:{} ", n % 2))
            .collect();
        let answers = answers(&words);
        let there: BTreeSet<&str> = answers.iter().map(|answer| answer.instance.id.as_str()).collect();
        let absent: Vec<(String, Fate)> = (0..12)
            .map(|n| (format!("i{n}"), Fate::ALL[random(4) as usize]))
            .filter(|(id, _)| !there.contains(id.as_str()))
            .collect();
        let epochs = super::Epochs {
            before: &before,
            with_versions: 256,
            at: at(second),
            answers: &answers,
            absent: &absent,
            hidden: false,
            away_since: None,
        };
        let next = Changes::after(changes.as_ref(), epochs, SUCCESSION);
        let restarts = |changes: &Option<Changes>| changes.as_ref().map_or(0, |changes| changes.restarts);
        assert!(next.restarts >= restarts(&changes));
        assert!(next.log.len() <= MAX_CHANGES);
        let gone: Vec<&str> = next.not_there().map(|change| change.instance.id.as_str()).collect();
        assert!(gone.iter().all(|id| !there.contains(id)));
        assert_eq!(gone.len(), gone.iter().collect::<BTreeSet<_>>().len());
        let replaced: Vec<&str> = next.log.iter().filter_map(Change::replaces).collect();
        assert_eq!(replaced.len(), replaced.iter().collect::<BTreeSet<_>>().len());
        before = answers.into_iter().map(|answer| answer.instance).collect();
        changes = Some(next);
    }
}

#[test]
fn more_that_left_than_arrived_lack_a_successor() {
    let missing = (400, ChangeKind::Missing);
    let left = (500, ChangeKind::Left);
    let came = |second| (second, ChangeKind::Arrived { replaces: None });
    // At second 1000, within 900 s.
    let cases = [
        (vec![], false),
        (vec![left.clone()], true),
        (vec![missing.clone()], true),
        (vec![left.clone(), came(600)], false),
        (vec![missing, left.clone(), came(600)], true),
        (vec![left.clone(), came(600), came(700)], false),
        // Too long ago.
        (vec![(100, ChangeKind::Left)], false),
        (vec![(101, ChangeKind::Left)], true),
        (vec![came(100), left], true),
    ];
    for (changes, expected) in cases {
        let log = changes.into_iter().map(|(second, what)| Change {
            at: at(second),
            what,
            instance: instance("a"),
        });
        let changes = Changes {
            restarts: 0,
            log: log.collect(),
        };
        assert_eq!(
            changes.lack_a_successor(WINDOW, at(1000)),
            expected,
            "{}",
            told(&changes)
        );
    }
}
