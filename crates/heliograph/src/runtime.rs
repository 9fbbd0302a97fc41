//! The runtime, whose workers each stay on a processor of their own.
//!
//! Linux lets two busy workers share a processor for a tenth of a second while another is half idle, and whatever waits
//! for one of them waits as long (docs/performance.md). The runtime spreads the work over its workers itself.

use anyhow::{Context, Result};
use tokio::runtime::{Builder, Runtime};

/// A runtime with a worker for each processor, or as many as `TOKIO_WORKER_THREADS` says, which then stay nowhere.
pub(crate) fn runtime() -> Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    builder.enable_all();
    #[cfg(target_os = "linux")]
    if let Some(processors) = processors::for_workers() {
        processors::share_out(&mut builder, processors);
    }
    builder.build().context("the runtime cannot be started")
}

#[cfg(target_os = "linux")]
mod processors {
    use std::{
        cell::Cell,
        env,
        sync::atomic::{AtomicUsize, Ordering},
        thread::available_parallelism,
    };

    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    use tokio::runtime::Builder;

    thread_local! {
        static SETTLED: Cell<bool> = const { Cell::new(false) };
    }

    /// The processors this process may use, if there are several and it may use all of each. Where it is allowed less, as in
    /// a container with half of every processor, staying on some of them would crowd those.
    pub(super) fn for_workers() -> Option<CpuSet> {
        let processors =
            sched_getaffinity(None).ok().filter(|_| env::var_os("TOKIO_WORKER_THREADS").is_none())?;
        let workers = u32::try_from(available_parallelism().ok()?.get()).ok()?;
        (workers > 1 && processors.count() == workers).then_some(processors)
    }

    /// Gives each of the processors a worker. Other threads go where they like.
    pub(super) fn share_out(builder: &mut Builder, processors: CpuSet) {
        let each = (0..CpuSet::MAX_CPU).filter(|&processor| processors.is_set(processor)).collect::<Vec<_>>();
        let next = AtomicUsize::new(0);
        builder.worker_threads(each.len());
        // A thread begins where the one stays that started it, which may be a worker.
        builder.on_thread_start(move || stay_on(&processors));
        // Only workers park, and each does as soon as it has nothing to do.
        builder.on_thread_park(move || {
            if !SETTLED.replace(true)
                && let Some(&processor) = each.get(next.fetch_add(1, Ordering::Relaxed))
            {
                let mut own = CpuSet::new();
                own.set(processor);
                stay_on(&own);
            }
        });
    }

    /// Keeps the calling thread there. Where that is forbidden it goes where it likes, which is slower at worst.
    fn stay_on(processors: &CpuSet) {
        let _ = sched_setaffinity(None, processors);
    }

    #[cfg(test)]
    mod tests {
        use std::{collections::BTreeSet, thread, time::Duration};

        use tokio::{
            task::{JoinSet, spawn_blocking},
            time::timeout,
        };

        use super::*;

        const A_WHILE: Duration = Duration::from_secs(30);

        fn here() -> Vec<usize> {
            let processors = sched_getaffinity(None).unwrap();
            (0..CpuSet::MAX_CPU).filter(|&processor| processors.is_set(processor)).collect()
        }

        /// Adds where workers stay. All are wanted at once; which of them come is up to the runtime.
        async fn note_workers(count: usize, places: &mut BTreeSet<Vec<usize>>) {
            let mut tasks = JoinSet::new();
            for _ in 0..count {
                tasks.spawn(async {
                    thread::sleep(Duration::from_millis(2));
                    here()
                });
            }
            // One that had work before it could park has not settled yet.
            places.extend(tasks.join_all().await.into_iter().filter(|place| place.len() == 1));
        }

        #[test]
        fn each_worker_stays_on_its_own_processor_and_nobody_else_does() {
            // Nothing to see on a machine with one processor.
            if for_workers().is_none() {
                return;
            }
            let all = here();
            crate::runtime::runtime().unwrap().block_on(async {
                let mut places = BTreeSet::new();
                let noting = async {
                    while places.len() < all.len() {
                        note_workers(all.len(), &mut places).await;
                    }
                };
                timeout(A_WHILE, noting).await.expect("not all processors have a worker");
                assert_eq!(places.into_iter().collect::<Vec<_>>().concat(), all);
                let of_a_worker = tokio::spawn(async { spawn_blocking(here).await }).await.unwrap().unwrap();
                assert_eq!(of_a_worker, all);
            });
            assert_eq!(here(), all, "the main thread");
        }
    }
}
