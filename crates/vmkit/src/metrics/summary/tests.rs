use super::*;

const MS: u64 = 1_000_000;

fn text(summary: &Summary, labels: &str, period: u64) -> String {
    let mut page = Page::new(false);
    summary.write_in(&mut page, "x", labels, &mut Vec::new(), period);
    String::from_utf8(page.into_bytes()).unwrap()
}

fn quantile_lines(summary: &Summary, period: u64) -> usize {
    text(summary, "", period).lines().filter(|line| line.contains("quantile")).count()
}

#[test]
fn nothing_before_the_first_update() {
    assert_eq!(text(&Summary::new(), "", 1), "");
}

#[test]
fn lines_and_labels() {
    let f = |labels: &str, want: &str| {
        let summary = Summary::new();
        for ms in 1..=100 {
            summary.record_in(ms * MS, 1);
        }
        assert_eq!(text(&summary, labels, 1), want);
    };
    f(
        "",
        "x{quantile=\"0.5\"} 0.051\nx{quantile=\"0.9\"} 0.09\nx{quantile=\"0.97\"} 0.097\nx{quantile=\"0.99\"} 0.099\n\
         x{quantile=\"1\"} 0.1\nx_sum 5.05\nx_count 100\n",
    );
    f(
        r#"{a="b"}"#,
        "x{a=\"b\",quantile=\"0.5\"} 0.051\nx{a=\"b\",quantile=\"0.9\"} 0.09\nx{a=\"b\",quantile=\"0.97\"} 0.097\n\
         x{a=\"b\",quantile=\"0.99\"} 0.099\nx{a=\"b\",quantile=\"1\"} 0.1\nx_sum{a=\"b\"} 5.05\nx_count{a=\"b\"} 100\n",
    );
}

#[test]
fn quantiles_of_few_samples() {
    let f = |samples: &[u64], want: [f64; 5]| {
        let summary = Summary::new();
        for &ms in samples {
            summary.record_in(ms * MS, 1);
        }
        assert_eq!(summary.quantiles(&mut Vec::new(), 1), Some(want), "{samples:?}");
    };
    f(&[7], [0.007; 5]);
    f(&[0], [0.0; 5]);
    f(&[2, 1], [0.002; 5]);
    f(&[3, 1, 2], [0.002, 0.003, 0.003, 0.003, 0.003]);
    f(&[5, 4, 3, 2, 1], [0.003, 0.005, 0.005, 0.005, 0.005]);
}

#[test]
fn the_window_slides_by_halves() {
    let summary = Summary::new();
    summary.record_in(MS, 1);
    assert_eq!(quantile_lines(&summary, 1), 5);
    assert_eq!(quantile_lines(&summary, 2), 5);
    summary.record_in(9 * MS, 2);
    assert_eq!(summary.quantiles(&mut Vec::new(), 2).unwrap()[4], 0.009);
    assert_eq!(summary.quantiles(&mut Vec::new(), 2).unwrap()[0], 0.009);
    summary.record_in(3 * MS, 3);
    // The sample of period 1 is forgotten, that of period 2 is not.
    assert_eq!(summary.quantiles(&mut Vec::new(), 3), Some([0.009; 5]));
    summary.record_in(2 * MS, 4);
    assert_eq!(summary.quantiles(&mut Vec::new(), 4), Some([0.003; 5]));
    assert_eq!(summary.quantiles(&mut Vec::new(), 5), Some([0.002; 5]));
}

#[test]
fn an_idle_window_loses_quantiles_and_memory_but_not_totals() {
    let summary = Summary::new();
    summary.record_in(1500 * MS, 7);
    assert_eq!(text(&summary, "", 9), "x_sum 1.5\nx_count 1\n");
    assert!(summary.sets.iter().all(|set| set.load().is_none()));
    summary.record_in(500 * MS, 20);
    assert_eq!(quantile_lines(&summary, 20), 5);
    assert!(text(&summary, "", 20).ends_with("x_sum 2\nx_count 2\n"));
}

#[test]
fn a_thread_with_a_late_clock_loses_nothing() {
    let summary = Summary::new();
    summary.record_in(MS, 5);
    summary.record_in(2 * MS, 4);
    assert_eq!(summary.count(), 2);
    assert_eq!(summary.quantiles(&mut Vec::new(), 5).unwrap()[4], 0.002);
}

#[test]
fn memory_is_bounded_and_the_sample_is_uniform() {
    let summary = Summary::new();
    for nanos in 0..100_000 {
        summary.record_in(nanos, 1);
    }
    let mut scratch = Vec::new();
    let values = summary.quantiles(&mut scratch, 1).unwrap();
    assert_eq!(scratch.len(), MAX_SAMPLES);
    assert_eq!(values[4], seconds(99_999));
    // The standard error of the median of 1,000 uniform samples is 1.6 %; ten of them are never reached by chance.
    assert!((values[0] - seconds(50_000)).abs() < seconds(16_000), "{values:?}");
    assert!(values.windows(2).all(|pair| pair[0] <= pair[1]), "{values:?}");
}

#[test]
fn odd_values() {
    let f = |value: f64, count: u64, sum: f64| {
        let summary = Summary::new();
        summary.update(value);
        assert_eq!((summary.count(), summary.sum()), (count, sum), "{value}");
    };
    f(f64::NAN, 0, 0.0);
    f(-1.0, 1, 0.0);
    f(1.172e-6, 1, 1.172e-6);
    f(f64::INFINITY, 1, seconds(u64::MAX));
}

#[test]
fn many_threads_lose_no_update() {
    const THREADS: u64 = 8;
    const EACH: u64 = 20_000;
    let summary = Summary::new();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let summary = &summary;
            scope.spawn(move || {
                for i in 0..EACH {
                    // Periods advance while others still write, and pages are read meanwhile.
                    summary.record_in(1000 + i % 1000, 1 + (i + thread) / 5000);
                    if i % 1000 == 0 {
                        let period = 1 + i / 5000;
                        if let Some(values) = summary.quantiles(&mut Vec::new(), period) {
                            assert!(values.iter().all(|v| (1e-6..2e-6).contains(v)), "{values:?}");
                        }
                    }
                }
            });
        }
    });
    assert_eq!(summary.count(), THREADS * EACH);
    let each_sum: u64 = (0..EACH).map(|i| 1000 + i % 1000).sum();
    assert_eq!(summary.sum_nanos.load(Ordering::Relaxed), THREADS * each_sum);
    let values = summary.quantiles(&mut Vec::new(), 5).unwrap();
    assert!(values.iter().all(|v| (1e-6..2e-6).contains(v)), "{values:?}");
}
