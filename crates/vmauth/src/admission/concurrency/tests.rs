use super::*;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, AtomicUsize};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::sleep;

const SECOND: Duration = Duration::from_secs(1);

fn far() -> Instant {
    Instant::now() + 1000 * SECOND
}

fn idle(limiter: &Limiter) -> bool {
    limiter.state.load(Ordering::SeqCst) == 0 && limiter.queue.lock().unwrap().waiters.is_empty()
}

#[tokio::test(start_paused = true)]
async fn free_slots_are_taken_after_the_deadline_too() {
    let limiter = Limiter::new(2);
    let past = Instant::now();
    sleep(SECOND).await;
    let first = limiter.acquire(past).await.unwrap();
    let _second = limiter.acquire(past).await.unwrap();
    assert_eq!(limiter.acquire(past).await.unwrap_err(), LimitReached);
    assert_eq!((limiter.current(), limiter.capacity()), (2, 2));
    drop(first);
    assert_eq!(limiter.current(), 1);
    limiter.acquire(past).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn no_capacity_refuses_at_once() {
    let limiter = Limiter::new(0);
    let start = Instant::now();
    assert_eq!(limiter.acquire(far()).await.unwrap_err(), LimitReached);
    assert_eq!((start.elapsed(), idle(&limiter)), (Duration::ZERO, true));
}

#[tokio::test(start_paused = true)]
async fn waits_until_the_deadline() {
    let limiter = Limiter::new(1);
    let held = limiter.acquire(far()).await.unwrap();
    let start = Instant::now();
    assert!(limiter.acquire(start + 10 * SECOND).await.is_err());
    assert_eq!(start.elapsed().as_secs(), 10);
    drop(held);
    assert!(idle(&limiter));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_permit_wakes_the_eldest() {
    let limiter = Limiter::new(1);
    let held = limiter.acquire(far()).await.unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut waiters = Vec::new();
    for index in 0..5 {
        let (limiter, order) = (limiter.clone(), order.clone());
        waiters.push(tokio::spawn(async move {
            let permit = limiter.acquire(far()).await.unwrap();
            order.lock().unwrap().push(index);
            sleep(SECOND).await;
            drop(permit);
        }));
        tokio::task::yield_now().await;
    }
    let start = Instant::now();
    sleep(SECOND).await;
    // Nobody overtakes the queue.
    drop(held);
    assert!(limiter.try_acquire().is_none());
    for waiter in waiters {
        waiter.await.unwrap();
    }
    assert_eq!((order.lock().unwrap().clone(), start.elapsed().as_secs()), (vec![0, 1, 2, 3, 4], 6));
    assert!(idle(&limiter));
}

#[tokio::test]
async fn a_dropped_waiter_passes_its_slot_on() {
    let limiter = Limiter::new(1);
    let held = limiter.acquire(far()).await.unwrap();
    let mut context = Context::from_waker(Waker::noop());
    let mut third = pin!(limiter.acquire(far()));
    {
        let mut first = pin!(limiter.acquire(far()));
        assert!(first.as_mut().poll(&mut context).is_pending());
        {
            let mut second = pin!(limiter.acquire(far()));
            assert!(second.as_mut().poll(&mut context).is_pending());
            assert!(third.as_mut().poll(&mut context).is_pending());
        }
        // The slot is on its way to the first, which never looks.
        drop(held);
        assert!(third.as_mut().poll(&mut context).is_pending());
        assert_eq!(limiter.current(), 1);
    }
    let Poll::Ready(Ok(permit)) = third.as_mut().poll(&mut context) else {
        panic!("the third got no slot");
    };
    drop(permit);
    assert!(idle(&limiter));
}

#[tokio::test(start_paused = true)]
async fn waiters_that_gave_up_leave_nothing() {
    let limiter = Limiter::new(1);
    let held = limiter.acquire(far()).await.unwrap();
    let deadline = Instant::now() + SECOND;
    let waiters: Vec<_> = (0..100)
        .map(|_| {
            let limiter = limiter.clone();
            tokio::spawn(async move { limiter.acquire(deadline).await.is_err() })
        })
        .collect();
    for waiter in waiters {
        assert!(waiter.await.unwrap());
    }
    assert!(limiter.queue.lock().unwrap().waiters.is_empty());
    drop(held);
    assert!(idle(&limiter));
}

/// Eight runtimes fight for three slots; some waiters give up, some are dropped half-way.
#[test]
fn many_runtimes() {
    let limiter = Limiter::new(3);
    let (running, most, served) = (AtomicU32::new(0), AtomicU32::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for seed in 0..8 {
            let (limiter, running, most, served) = (&limiter, &running, &most, &served);
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
                let mut random = fastrand::Rng::with_seed(seed);
                let one = async |drop_after: u32| {
                    let mut polls = 0;
                    let mut acquire = pin!(limiter.acquire(far()));
                    let permit = std::future::poll_fn(|context| {
                        polls += 1;
                        match acquire.as_mut().poll(context) {
                            Poll::Pending if polls > drop_after => Poll::Ready(None),
                            Poll::Pending => {
                                context.waker().wake_by_ref();
                                Poll::Pending
                            }
                            Poll::Ready(permit) => Poll::Ready(Some(permit.unwrap())),
                        }
                    })
                    .await;
                    let Some(_permit) = permit else {
                        return;
                    };
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    served.fetch_add(1, Ordering::SeqCst);
                    running.fetch_sub(1, Ordering::SeqCst);
                };
                runtime.block_on(async {
                    for _ in 0..100 {
                        let (a, b, c) = (random.u32(0..4), random.u32(0..50), u32::MAX);
                        tokio::join!(one(a), one(b), one(c));
                    }
                });
            });
        }
    });
    assert!(most.load(Ordering::SeqCst) <= 3);
    // Those who wait to the end are all served.
    assert!(served.load(Ordering::SeqCst) >= 800);
    assert!(idle(&limiter));
}

/// Waiters sleep for real here: a lost wake-up would hang until the deadline and fail.
#[test]
fn wake_ups_cross_runtimes() {
    let limiter = Limiter::new(1);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let limiter = &limiter;
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
                runtime.block_on(async {
                    for _ in 0..2000 {
                        let permit = limiter.acquire(Instant::now() + 60 * SECOND).await.unwrap();
                        std::hint::spin_loop();
                        drop(permit);
                    }
                });
            });
        }
    });
    assert!(idle(&limiter));
}
