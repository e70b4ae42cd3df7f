use super::*;

fn difference(rounds: &[(f64, f64)], better: Better) -> Difference {
    Difference::new(rounds, better).expect("there are figures")
}

fn rounds(ratios: &[f64]) -> Vec<(f64, f64)> {
    ratios.iter().map(|ratio| (100.0 * ratio, 100.0)).collect()
}

#[test]
fn builds_swap_places_from_round_to_round() {
    let mut order = Vec::new();
    for round in 0..3 {
        let figures = both(round, |side| {
            order.push(side);
            Ok::<_, ()>(side)
        });
        assert_eq!(figures, Ok((Side::This, Side::Other)));
    }
    let (this, other) = (Side::This, Side::Other);
    assert_eq!(order, [this, other, other, this, this, other]);
}

#[test]
fn failed_measurement_ends_its_round() {
    let mut measured = 0;
    let result = both(1, |side| {
        measured += 1;
        if side == Side::Other {
            Err("gone")
        } else {
            Ok(())
        }
    });
    assert_eq!((result, measured), (Err("gone"), 1));
}

#[test]
fn range_leaves_out_the_outermost_where_it_is_sure() {
    // As in the tables of the sign test: two-sided, 5 %.
    let ranks = [
        (5, None),
        (6, Some(1)),
        (8, Some(1)),
        (9, Some(2)),
        (12, Some(3)),
        (15, Some(4)),
        (25, Some(8)),
    ];
    for (count, rank) in ranks {
        assert_eq!(sure_rank(count), rank, "{count}");
    }
    let ratios = [9.0, 1.0, 2.0, 8.0, 3.0, 4.0, 5.0, 6.0, 7.0];
    assert_eq!(range(&ratios), Some((2.0, 8.0)));
    assert_eq!(range(&[2.0, 1.0]), Some((1.0, 2.0)));
    assert_eq!(range(&[]), None);
}

#[test]
fn range_of_any_number_of_rounds_holds_the_middle() {
    for count in (1..=100).chain([3_000]) {
        let values: Vec<_> = (0..count).map(f64::from).collect();
        let (low, high) = range(&values).expect("there are values");
        let middle = median(&values);
        assert!(low <= middle && middle <= high, "{count}");
    }
}

#[test]
fn ratio_within_three_percent_is_the_same() {
    for ratio in [0.97, 1.0, 1.03] {
        let found = difference(&rounds(&[ratio; 9]), Better::Lower);
        assert_eq!(found.change, Change::Same, "{ratio}");
        assert!((found.ratio - ratio).abs() < 1e-9);
    }
}

#[test]
fn direction_of_good_figures_is_the_figures_own() {
    let slower = rounds(&[1.05; 9]);
    assert_eq!(difference(&slower, Better::Lower).change, Change::Worse);
    assert_eq!(difference(&slower, Better::Higher).change, Change::Better);
    let faster = rounds(&[0.9; 9]);
    assert_eq!(difference(&faster, Better::Lower).change, Change::Better);
    assert_eq!(difference(&faster, Better::Higher).change, Change::Worse);
}

#[test]
fn rounds_that_disagree_or_are_few_are_unclear() {
    let mixed = [0.9, 0.9, 0.9, 1.1, 1.1, 1.1, 1.1, 1.1, 1.1];
    let found = difference(&rounds(&mixed), Better::Lower);
    assert_eq!(found.change, Change::Unclear);
    assert!((found.ratio - 1.1).abs() < 1e-9);
    let few = difference(&rounds(&[1.2; 5]), Better::Lower);
    assert_eq!(few.change, Change::Unclear);
}

#[test]
fn ratio_is_that_of_the_medians() {
    let rounds = [(10.0, 20.0), (30.0, 10.0), (20.0, 40.0)];
    let found = difference(&rounds, Better::Lower);
    let close = |a: f64, b: f64| (a - b).abs() < 1e-9;
    assert!(close(found.this, 20.0) && close(found.other, 20.0) && close(found.ratio, 1.0));
    assert!(close(found.low, 0.5) && close(found.high, 3.0));
}

#[test]
fn best_figures_are_the_lowest_costs_and_the_highest_throughputs() {
    let rounds = [(10.0, 20.0), (30.0, 60.0), (20.0, 40.0), (50.0, 40.0)];
    let best = |better| difference(&rounds, better).best;
    assert!((best(Better::Lower) - 10.0 / 20.0).abs() < 1e-9);
    assert!((best(Better::Higher) - 50.0 / 60.0).abs() < 1e-9);
}

#[test]
fn figures_that_cannot_be_divided_are_left_out() {
    assert_eq!(Difference::new(&[], Better::Lower), None);
    assert_eq!(Difference::new(&[(0.0, 0.0)], Better::Lower), None);
    assert_eq!(Difference::new(&[(1.0, 0.0)], Better::Lower), None);
}

#[test]
fn other_build_is_a_name_and_an_executable() {
    let other: Other = "4ca0ee8=target/x=y/runtime"
        .parse()
        .expect("both are there");
    assert_eq!(other.name, "4ca0ee8");
    assert_eq!(other.program, PathBuf::from("target/x=y/runtime"));
    for wrong in ["runtime", "=runtime", "4ca0ee8=", ""] {
        let problem = wrong.parse::<Other>().expect_err("a part is missing");
        assert!(problem.contains("<name>=<executable>"), "{problem}");
    }
}

#[test]
fn table_marks_the_ratios_outside() {
    let line = |name, ratio| Line::new(name, "ns", Better::Lower, rounds(&[ratio; 9]));
    let comparison = Comparison {
        title: "Within a process".to_owned(),
        machine: Machine::here(),
        date: "today".to_owned(),
        rounds: 9,
        this: "abc-dirty".to_owned(),
        other: "4ca0ee8".to_owned(),
        lines: vec![
            line("tell", 1.01),
            line("ask", 1.25),
            Line::new("spawn", "ns", Better::Lower, Vec::new()),
        ],
        notes: vec!["A note.".to_owned()],
    };
    let text = comparison.markdown();
    for part in [
        "### Within a process: abc-dirty against 4ca0ee8\n",
        "| | abc-dirty | 4ca0ee8 | ratio | range | best | |\n",
        "| tell | 101 ns | 100 ns | 1.010 | 1.010 – 1.010 | 1.010 |  |\n",
        "| ask | 125 ns | 100 ns | 1.250 | 1.250 – 1.250 | 1.250 | **worse** |\n",
        "| spawn | – | – | – | – | – | no ratio |\n",
        "\n- 1 of 2 ratios lie outside of 0.97 to 1.03.\n- A note.\n",
    ] {
        assert!(text.contains(part), "{part}\nis not in\n{text}");
    }
}
