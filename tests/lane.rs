//! What the fast lane asks of the system, where it is refused, in processes of their own: a filter
//! for system calls that answers `EPERM` to `membarrier`, and `fork`.
#![cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64"),
    not(any(loom, shuttle, miri))
))]

use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};
use std::{env, io, thread};

use topic_registry::{SyncRegistry, TopicHandle, TopicRegistry, WaitError};

type Topics = TopicRegistry<String, u64>;
type Handle = TopicHandle<String, u64>;

/// So often that a lane is hot afterwards.
const HEATS: usize = 1_000;

/// Names the test that runs as the child of itself.
const CHILD: &str = "TOPIC_REGISTRY_TEST_CHILD";

/// Runs `work` in a process of its own, which is this test again; fails unless it ends well, and
/// has printed nothing.
fn in_a_child(test: &str, work: impl FnOnce()) {
    if env::var(CHILD).is_ok_and(|child| child == test) {
        return work();
    }
    let child = Command::new(env::current_exe().expect("it has a path"))
        .args([
            test,
            "--exact",
            "--quiet",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(CHILD, test)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let id = child.id();
    let ends = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&ends);
    let pid = libc::pid_t::try_from(id).expect("it is a process id");
    let watch = thread::spawn(move || {
        let start = Instant::now();
        while !ended.load(Ordering::Relaxed) {
            if start.elapsed() > Duration::from_secs(60) {
                // SAFETY: it takes no pointers; the child is not waited for yet.
                unsafe { libc::kill(pid, libc::SIGKILL) };
                panic!("hung: the child {id}");
            }
            thread::sleep(Duration::from_millis(5));
        }
    });
    let Output {
        status,
        stdout,
        stderr,
    } = child.wait_with_output().expect("it ends");
    ends.store(true, Ordering::Relaxed);
    let outcome = watch.join();
    let lossy = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let (stdout, stderr) = (lossy(stdout), lossy(stderr));
    assert!(status.success() && outcome.is_ok(), "{stdout}{stderr}");
    assert_eq!(stderr, "", "it printed something");
    assert!(stdout.contains("1 passed"), "it was not run: {stdout}");
}

/// Refuses every command of `membarrier`.
const ALL: u32 = u32::MAX;

/// Refuses barriers (this is `PRIVATE_EXPEDITED`), and allows registering for them, which has
/// higher numbers.
const BARRIERS: u32 = 1 << 3;

/// Has the kernel answer `EPERM` to `membarrier` in this process from now on, for each command up
/// to `last`.
fn refuse_membarrier(last: u32) {
    // Places in `seccomp_data`; of the command, which is the first argument, the lower half.
    const NUMBER: u32 = 0;
    const COMMAND: u32 = 16;
    let stmt = |code: u32, k: u32| libc::sock_filter {
        code: u16::try_from(code).expect("it fits"),
        jt: 0,
        jf: 0,
        k,
    };
    let (load, if_equal, if_greater, answer) = (
        libc::BPF_LD | libc::BPF_W | libc::BPF_ABS,
        libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
        libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K,
        libc::BPF_RET | libc::BPF_K,
    );
    let membarrier = u32::try_from(libc::SYS_membarrier).expect("it is small");
    let mut program = [
        stmt(load, NUMBER),
        libc::sock_filter {
            jf: 3,
            ..stmt(if_equal, membarrier)
        },
        stmt(load, COMMAND),
        libc::sock_filter {
            jt: 1,
            ..stmt(if_greater, last)
        },
        stmt(answer, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        stmt(answer, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog {
        len: u16::try_from(program.len()).expect("it is short"),
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the program and its length belong together, and are read during the call.
    let installed = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                libc::SECCOMP_FILTER_FLAG_TSYNC,
                &raw const filter,
            ) == 0
    };
    assert!(installed, "no filter: {}", io::Error::last_os_error());
    // SAFETY: it takes no pointers.
    let answer = unsafe { libc::syscall(libc::SYS_membarrier, 0, 0, 0) };
    let error = io::Error::last_os_error().raw_os_error();
    assert_eq!((answer, error), (-1, Some(libc::EPERM)), "not refused");
}

/// What a closure owns: it notes that it was dropped.
struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Registers, notifies and removes, beside a thread that notifies, and checks what comes of it.
fn use_all(topics: &Topics, handle: &Handle) {
    let (calls, alive) = (Arc::new(AtomicU64::new(0)), Arc::new(()));
    let others = handle.handler_count();
    let (count, owned) = (Arc::clone(&calls), Arc::clone(&alive));
    let guard = handle.register_guard(move |event| {
        let _ = &owned;
        count.fetch_add(*event, Ordering::Relaxed);
    });
    let mut pinned = handle.pin();
    for _ in 0..HEATS {
        for called in [
            handle.notify(&1).called(),
            topics.notify(handle.key(), &1).called(),
            pinned.notify(&1).called(),
        ] {
            assert_eq!(called, others + 1);
        }
    }
    assert_eq!(calls.load(Ordering::Relaxed), 3 * HEATS as u64);
    drop(pinned);
    drop(guard);
    assert_eq!(handle.notify(&1).called(), others);
    assert_eq!(topics.notify(handle.key(), &1).called(), others);
    assert_eq!(Arc::strong_count(&alive), 1, "its closure is alive");

    // Each change is seen at once, whatever the others do.
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                assert_eq!(handle.notify(&0).panicked(), 0);
            }
        });
        for _ in 0..200 {
            let guard = handle.register_guard(|_| {});
            assert_eq!(handle.notify(&0).called(), others + 1);
            drop(guard);
            assert_eq!(handle.notify(&0).called(), others);
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn all_goes_on_where_membarrier_was_refused_from_the_start() {
    in_a_child(
        "all_goes_on_where_membarrier_was_refused_from_the_start",
        || {
            refuse_membarrier(ALL);
            let topics = Topics::new();
            let handle = topics.handle("key");
            use_all(&topics, &handle);
            handle.register(|_| {});
            use_all(&topics, &handle);
        },
    );
}

#[test]
fn all_goes_on_where_membarrier_is_refused_later() {
    in_a_child("all_goes_on_where_membarrier_is_refused_later", || {
        use_all_while_it_is_refused(ALL);
    });
}

#[test]
fn a_registration_for_barriers_is_no_barrier() {
    in_a_child("a_registration_for_barriers_is_no_barrier", || {
        use_all_while_it_is_refused(BARRIERS);
    });
}

/// Beside a dispatch that is inside of a hot lane: nobody knows of it, so its list stays alive.
fn use_all_while_it_is_refused(last: u32) {
    let topics = Topics::new();
    let (handle, other) = (topics.handle("key"), topics.handle("other"));
    other.register(|_| {});
    use_all(&topics, &handle);
    let (enter, leave) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let (dropped, calls) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let (entered, leaves, count) = (Arc::clone(&enter), Arc::clone(&leave), Arc::clone(&calls));
    let owned = Dropped(Arc::clone(&dropped));
    let guard = handle.register_guard(move |event| {
        // Its own, in case that the closure is freed meanwhile.
        let (leaves, count, dropped) = (
            Arc::clone(&leaves),
            Arc::clone(&count),
            Arc::clone(&owned.0),
        );
        if *event == 1 {
            entered.wait();
            leaves.wait();
        }
        assert!(!dropped.load(Ordering::SeqCst), "dropped during the call");
        count.fetch_add(1, Ordering::Relaxed);
    });
    for _ in 0..HEATS {
        assert_eq!(handle.notify(&0).called(), 1);
        assert_eq!(other.notify(&0).called(), 1);
    }
    let inside = thread::spawn({
        let handle = handle.clone();
        move || {
            // A thread's first dispatch goes through arc_swap.
            handle.notify(&0);
            handle.notify(&1)
        }
    });
    enter.wait();
    refuse_membarrier(last);
    drop(guard);
    assert_eq!(handle.notify(&0).called(), 0);
    leave.wait();
    let delivery = inside.join().expect("it does not panic");
    assert_eq!((delivery.called(), delivery.panicked()), (1, 0));
    assert_eq!(calls.load(Ordering::Relaxed), HEATS as u64 + 2);
    // The other lane is hot still, until it changes.
    assert_eq!(other.notify(&0).called(), 1);
    use_all(&topics, &handle);
    use_all(&topics, &other);
    // Without barriers, nobody knows that no other dispatch is inside.
    assert!(!dropped.load(Ordering::SeqCst), "its list was not leaked");
}

/// The child of a process whose lanes are hot, and which has another thread, goes on.
#[test]
fn a_forked_child_goes_on() {
    in_a_child("a_forked_child_goes_on", || {
        let topics = Topics::new();
        let handle = topics.handle("key");
        handle.register(|_| {});
        let done = Arc::new(AtomicBool::new(false));
        let other = thread::spawn({
            let (done, other) = (Arc::clone(&done), topics.handle("other"));
            other.register(|_| {});
            move || {
                while !done.load(Ordering::Relaxed) {
                    other.notify(&0);
                }
            }
        });
        use_all(&topics, &handle);
        // SAFETY: the child uses what only this thread has used, and ends without destructors. The
        // system's allocator may be used after a fork, and nothing else here is locked by others.
        match unsafe { libc::fork() } {
            -1 => panic!("no fork: {}", io::Error::last_os_error()),
            0 => {
                let goes_on = std::panic::catch_unwind(|| use_all(&topics, &handle));
                // SAFETY: it ends the process.
                unsafe { libc::_exit(i32::from(goes_on.is_err())) }
            }
            child => {
                let (mut status, start) = (0, Instant::now());
                // SAFETY: the status outlives the call.
                while unsafe { libc::waitpid(child, &raw mut status, libc::WNOHANG) } == 0 {
                    if start.elapsed() > Duration::from_secs(30) {
                        // SAFETY: it takes no pointers; the child is not waited for yet.
                        unsafe { libc::kill(child, libc::SIGKILL) };
                        panic!("hung: the forked child");
                    }
                    thread::sleep(Duration::from_millis(1));
                }
                assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0);
            }
        }
        use_all(&topics, &handle);
        done.store(true, Ordering::Relaxed);
        other.join().expect("it does not panic");
    });
}

/// The list that is leaked then never drops the handler.
#[test]
fn a_wait_ends_with_its_registry_though_its_list_was_leaked() {
    let test = "a_wait_ends_with_its_registry_though_its_list_was_leaked";
    in_a_child(test, || {
        let registry = SyncRegistry::<u64>::new();
        let mut waiting = registry.wait_for(|event| (*event == 1).then_some(()));
        (0..HEATS).for_each(|_| _ = registry.notify(&0));
        refuse_membarrier(ALL);
        registry.register(|_| {});
        drop(registry);
        let outcome = waiting.wait_timeout(Duration::from_secs(30));
        assert_eq!(outcome, Err(WaitError::Removed));
    });
}
