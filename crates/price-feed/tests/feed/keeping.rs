//! How long a price is kept, and who asks for the next.

use crate::bench::{Bench, MINUTE, bitstamp};
use futures_util::future::join_all;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use tithe_clock::Clock;
use tithe_money::BtcPrice;
use tithe_price_feed::FixedPrice;
use tithe_pricing::{BtcQuote, PriceError, PriceFeed};

#[tokio::test]
async fn a_fixed_price_is_always_true() {
    let bench = Bench::new(&[]).await;
    let price = BtcPrice::parse("100000").unwrap();
    let feed = FixedPrice::new(price, bench.clock.clone());
    bench.clock.advance(Duration::from_hours(24));
    assert_eq!(feed.btc_price().await, Ok(BtcQuote { price, as_of: bench.clock.now() }));
}

#[tokio::test]
async fn a_price_is_kept_until_it_falls_due() {
    let bench = Bench::of_bitstamps(&["97101", "97102"]).await;
    let feed = bench.feed();
    let first = feed.btc_price().await.unwrap();
    bench.clock.advance(Duration::from_micros(59_999_999));
    assert_eq!(feed.btc_price().await, Ok(first));
    assert_eq!(bench.asked(0).await, 1);

    bench.says(0, &bitstamp("98000", bench.clock.now())).await;
    bench.clock.advance(Duration::from_micros(1));
    let second = feed.btc_price().await.unwrap();
    assert_eq!(second.price.to_string(), "97102 USD");
    assert_eq!(second.as_of, bench.clock.now());
}

#[tokio::test]
async fn the_last_good_price_does_until_it_is_too_old() {
    let bench = Bench::of_bitstamps(&["97101", "97102"]).await;
    let feed = bench.feed();
    let good = feed.btc_price().await.unwrap();
    bench.fail_all().await;
    bench.clock.advance(bench.settings.max_age);
    assert_eq!(feed.btc_price().await, Ok(good));
    bench.clock.advance(Duration::from_micros(1));
    assert_eq!(feed.btc_price().await, Err(PriceError::TooOld { as_of: good.as_of }));

    for (index, price) in ["98001", "98002"].iter().enumerate() {
        bench.says(index, &bitstamp(price, bench.clock.now())).await;
    }
    bench.clock.advance(bench.settings.retry_after);
    assert_eq!(feed.btc_price().await.unwrap().price.to_string(), "98001 USD");
}

#[tokio::test]
async fn sources_that_failed_are_not_asked_again_at_once() {
    let bench = Bench::of_bitstamps(&["97101", "97102"]).await;
    let feed = bench.feed();
    bench.fail_all().await;
    for _ in 0..3 {
        assert_eq!(feed.btc_price().await, Err(PriceError::NeverKnown));
    }
    assert_eq!(bench.asked(0).await, 1);
    bench.clock.advance(bench.settings.retry_after);
    assert_eq!(feed.btc_price().await, Err(PriceError::NeverKnown));
    assert_eq!(bench.asked(0).await, 2);
}

#[tokio::test]
async fn a_clock_that_is_set_back_makes_no_price_fresh_for_ever() {
    let bench = Bench::of_bitstamps(&["97101", "97102"]).await;
    let start = bench.clock.now();
    bench.clock.set(start + Duration::from_hours(24 * 365));
    for (index, price) in ["98001", "98002"].iter().enumerate() {
        bench.says(index, &bitstamp(price, bench.clock.now())).await;
    }
    let feed = bench.feed();
    let ahead = feed.btc_price().await.unwrap();
    bench.fail_all().await;
    bench.clock.set(start);
    assert_eq!(feed.btc_price().await, Err(PriceError::TooOld { as_of: ahead.as_of }));
    assert_eq!(bench.asked(0).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_who_wait_share_one_asking() {
    let bench = Bench::of_bitstamps(&["97101", "97102"]).await;
    let feed = bench.feed();
    let callers = |n: usize| {
        let feed = Arc::clone(&feed);
        join_all((0..n).map(move |_| {
            let feed = Arc::clone(&feed);
            tokio::spawn(async move { feed.btc_price().await })
        }))
    };
    let answers = callers(64).await;
    assert!(answers.into_iter().all(|answer| answer.unwrap().is_ok()));
    assert_eq!((bench.asked(0).await, bench.asked(1).await), (1, 1));

    // In failure too.
    bench.fail_all().await;
    bench.clock.advance(bench.settings.max_age + MINUTE);
    let answers = callers(64).await;
    assert!(answers.into_iter().all(|answer| matches!(answer.unwrap(), Err(PriceError::TooOld { .. }))));
    assert_eq!((bench.asked(0).await, bench.asked(1).await), (1, 1));
}

#[tokio::test]
async fn a_caller_that_leaves_does_not_keep_the_others_from_asking() {
    let bench = Bench::of_bitstamps(&["97101", "97102"]).await;
    let feed = bench.feed();
    // Dropped after one poll, in the middle of asking.
    assert!(futures_util::FutureExt::now_or_never(feed.btc_price()).is_none());
    assert_eq!(feed.btc_price().await.unwrap().price.to_string(), "97101 USD");
}

#[tokio::test(start_paused = true)]
async fn in_the_background_the_price_is_renewed_before_it_falls_due() {
    // Paused time jumps ahead when nothing runs; while this blocking task lasts it moves only when it is told to.
    let (done, wait) = mpsc::channel::<()>();
    let blocker = tokio::task::spawn_blocking(move || wait.recv());

    let mut bench = Bench::of_bitstamps(&["97101", "97102"]).await;
    // The steps of time below must not make an answer late that is on its way.
    bench.settings.timeout = Duration::from_hours(24 * 365);
    let feed = bench.feed();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let task = tokio::spawn(Arc::clone(&feed).run(async {
        let _stopped = stopped.await;
    }));
    let started = Instant::now();
    let until_asked = async |times: usize| {
        while bench.asked(0).await < times || bench.asked(1).await < times {
            assert!(started.elapsed() < MINUTE, "not asked {times} times");
            tokio::task::yield_now().await;
        }
    };
    until_asked(1).await;
    let first = feed.btc_price().await.unwrap();

    let pause = bench.settings.refresh_after * 3 / 4 + Duration::from_millis(1);
    bench.clock.advance(pause);
    tokio::time::advance(pause).await;
    until_asked(2).await;
    let second = feed.refresh().await.unwrap();
    assert!(second.as_of > first.as_of);

    stop.send(()).unwrap();
    task.await.unwrap();
    drop(done);
    assert!(blocker.await.unwrap().is_err());
}
