use super::*;

fn report() -> Report {
    let ours = vec![40.0, 50.0, 60.0];
    let theirs = vec![100.0, 100.0, 100.0];
    Report {
        title: "Small".to_owned(),
        machine: Machine {
            processor: "Some CPU".to_owned(),
            cores: 2,
            system: "linux x86_64".to_owned(),
            load: None,
        },
        date: "2024-01-01T00:00:00Z".to_owned(),
        rounds: 3,
        peers: ["conclib", "other", "third"]
            .map(|name| Peer {
                name: name.to_owned(),
                version: "1.0".to_owned(),
                skipped: (name == "third").then(|| "not there".to_owned()),
            })
            .to_vec(),
        rows: vec![Row {
            name: "tell".to_owned(),
            unit: "ns",
            better: Better::Lower,
            cells: vec![
                Cell::new(ours.clone(), &ours),
                Cell::new(theirs, &ours),
                None,
            ],
            limits: vec![
                Limit::new("other", 0.6, 0.5, Better::Lower),
                Limit::new("best peer", 0.3, 0.5, Better::Lower),
                Limit::new("", 100.0, 50.0, Better::Lower),
            ],
        }],
        notes: vec!["A note.".to_owned()],
    }
}

#[test]
fn the_table_has_ratios_limits_and_notes() {
    let expected = "\
### Small

Some CPU, 2 threads, linux x86_64. 2024-01-01T00:00:00Z. Medians of 3 rounds; in brackets the figure of conclib divided by that of the peer.

| | conclib 1.0 | other 1.0 | third 1.0 | limit |
|---|---:|---:|---:|---|
| tell | 50.0 ns | 100 ns (0.50) | – | 0.50 ≤ 0.60 × other: holds; 0.50 ≤ 0.30 × best peer: **missed**; 50.0 ≤ 100 ns: holds |

- A note.
- third was not measured: not there
";
    assert_eq!(report().markdown(), expected);
}

#[test]
fn the_ratio_is_the_median_of_the_rounds_ratios() {
    let cell = Cell::new(vec![10.0, 100.0, 1000.0], &[10.0, 50.0, 100.0]);
    let cell = cell.expect("it has samples");
    assert!(cell.ratio.is_some_and(|ratio| (ratio - 0.5).abs() < 1e-9));
    assert!((cell.low - 10.0).abs() < 1e-9 && (cell.high - 1000.0).abs() < 1e-9);
    assert!(Cell::new(Vec::new(), &[]).is_none());
}

#[test]
fn a_limit_looks_the_right_way() {
    assert!(Limit::new("x", 1.0, 1.0, Better::Lower).holds);
    assert!(!Limit::new("x", 1.0, 1.1, Better::Lower).holds);
    assert!(Limit::new("x", 1.3, 2.0, Better::Higher).holds);
    assert!(!Limit::new("x", 1.3, 1.0, Better::Higher).holds);
}

#[test]
fn json_holds_every_sample() {
    let text = serde_json::to_string(&report()).expect("it is JSON");
    assert!(text.contains("\"samples\":[40.0,50.0,60.0]"));
    assert!(text.contains("\"better\":\"Lower\""));
}
