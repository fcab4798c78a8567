//! The commands: what each does and which figures it gives. Latencies are in milliseconds, processor time
//! in microseconds, memory in bytes.

use std::process::{Child, Stdio};
use std::time::Duration;

use crate::conversation::Conversation;
use crate::options::Options;
use crate::poller::{MILLISECOND, SECOND, now};
use crate::server::{KernelMemory, Server};

/// Talking before anything is measured, so that caches, pools and allocators are in their working state.
const WARM_UP_SECONDS: f64 = 0.5;
/// Messages that every listener hears before memory is measured, so that lazily made buffers exist.
const MEMORY_MESSAGES_A_SECOND: u64 = 10;
/// A server that takes longer than this to start has failed.
const START_NANOSECONDS: u64 = 10 * SECOND;
/// Time between two tries to connect to a server that is starting.
const START_RETRY: Duration = Duration::from_micros(50);
/// A server that takes longer than this to stop is killed.
const STOP_NANOSECONDS: u64 = 6 * SECOND;

pub type Figures = Vec<(&'static str, f64)>;

/// One line; a figure that could not be had is null.
pub fn json(figures: &Figures) -> String {
    let members: Vec<String> = figures
        .iter()
        .map(|(name, value)| match value.is_finite() {
            true => format!("\"{name}\": {value}"),
            false => format!("\"{name}\": null"),
        })
        .collect();
    format!("{{{}}}", members.join(", "))
}

/// `/say` without anyone listening.
pub fn say(options: &Options) -> Result<Figures, String> {
    let mut conversation = conversation(options)?;
    let cpu_us = talk(&mut conversation, options)?;
    let tally = &conversation.tally;
    let seconds = tally.last_answer.saturating_sub(tally.started) as f64 / SECOND as f64;
    let seconds = seconds.max(options.seconds);
    let mut figures = vec![
        ("requests", tally.due as f64),
        ("requests_per_second", tally.answered as f64 / seconds),
        ("success_percent", 100.0 * tally.answered as f64 / tally.due as f64),
        ("cpu_us_per_request", cpu_us / tally.answered as f64),
    ];
    figures.extend(say_latency(&conversation));
    Ok(figures)
}

/// Listeners and speakers.
pub fn fanout(options: &Options) -> Result<Figures, String> {
    let mut conversation = conversation(options)?;
    conversation.join(options.listeners, options.outstanding)?;
    conversation.settle()?;
    let cpu_us = talk(&mut conversation, options)?;
    let tally = &conversation.tally;
    let seconds = tally.last_heard.saturating_sub(tally.started) as f64 / SECOND as f64;
    let seconds = seconds.max(options.seconds);
    let lost = conversation.lost();
    let other_orders = match lost + conversation.hung_up {
        0 if options.channels == 1 => conversation.other_orders() as f64,
        _ => f64::NAN,
    };
    let mut figures = vec![
        ("deliveries_per_second", tally.heard as f64 / seconds),
        ("delivery_p50_ms", tally.delivery_latency.percentile_ms(50.0)),
        ("delivery_p95_ms", tally.delivery_latency.percentile_ms(95.0)),
        ("delivery_p99_ms", tally.delivery_latency.percentile_ms(99.0)),
        ("delivery_max_ms", tally.delivery_latency.max_ms()),
        ("cpu_us_per_delivery", cpu_us / tally.heard as f64),
        ("success_percent", 100.0 * tally.answered as f64 / tally.due as f64),
        ("messages", tally.answered as f64),
        ("deliveries", tally.heard as f64),
        ("lost", lost as f64),
        ("out_of_order", tally.out_of_order as f64),
        ("other_orders", other_orders),
        ("hung_up", conversation.hung_up as f64),
    ];
    figures.extend(say_latency(&conversation));
    Ok(figures)
}

/// How fast listeners join.
pub fn join(options: &Options) -> Result<Figures, String> {
    join_all(&mut conversation(options)?, options)
}

/// How fast listeners come back whose connections were all cut at once.
pub fn rejoin(options: &Options) -> Result<Figures, String> {
    let mut conversation = conversation(options)?;
    conversation.join(options.listeners, options.outstanding)?;
    conversation.settle()?;
    conversation.cut_all();
    join_all(&mut conversation, options)
}

fn join_all(conversation: &mut Conversation, options: &Options) -> Result<Figures, String> {
    let server = Server::of(options.pid)?;
    let (cpu, start) = (server.cpu_nanoseconds()?, now());
    conversation.join(options.listeners, options.outstanding)?;
    let seconds = (now() - start) as f64 / SECOND as f64;
    conversation.settle()?;
    let cpu_us = (server.cpu_nanoseconds()? - cpu) as f64 / 1000.0;
    let listeners = options.listeners as f64;
    Ok(vec![("joins_per_second", listeners / seconds), ("cpu_us_per_join", cpu_us / listeners)])
}

/// Memory, idle and for each listener. Kernel memory is the whole machine's, both ends of each connection
/// and the other sockets' noise in it.
pub fn idle(options: &Options) -> Result<Figures, String> {
    let server = Server::of(options.pid)?;
    let idle_bytes = server.resident_bytes()?;
    let mut conversation = conversation(options)?;
    conversation.talk(MEMORY_MESSAGES_A_SECOND, WARM_UP_SECONDS)?;
    let (resident_before, kernel_before) = (server.resident_bytes()?, KernelMemory::now()?);
    conversation.join(options.listeners, options.outstanding)?;
    conversation.settle()?;
    conversation.talk(MEMORY_MESSAGES_A_SECOND, WARM_UP_SECONDS)?;
    let kernel = KernelMemory::now()?;
    let each = |after: u64, before: u64| (after as f64 - before as f64) / options.listeners as f64;
    let stacks = each(kernel.stacks, kernel_before.stacks);
    let slab = each(kernel.slab, kernel_before.slab);
    let page_tables = each(kernel.page_tables, kernel_before.page_tables);
    Ok(vec![
        ("idle_rss_bytes", idle_bytes as f64),
        ("rss_bytes_per_listener", each(server.resident_bytes()?, resident_before)),
        ("kernel_bytes_per_listener", stacks + slab + page_tables),
        ("kernel_stack_bytes_per_listener", stacks),
        ("slab_bytes_per_listener", slab),
        ("page_table_bytes_per_listener", page_tables),
        ("lost", conversation.lost() as f64),
    ])
}

/// From exec to the first answer; starts the server itself and stops it again.
pub fn start(options: &Options) -> Result<Figures, String> {
    let (program, arguments) = options.server_command.split_first().expect("checked");
    let begin = now();
    let mut child = std::process::Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("cannot start {program}: {error}"))?;
    let answered = first_answer(options, begin);
    stop(&mut child)?;
    let answered = answered?;
    Ok(vec![("start_ms", (answered - begin) as f64 / MILLISECOND as f64)])
}

fn first_answer(options: &Options, begin: u64) -> Result<u64, String> {
    loop {
        match conversation(options) {
            Ok(mut conversation) => {
                conversation.say_once()?;
                return Ok(now());
            }
            Err(error) if now() > begin + START_NANOSECONDS => return Err(error),
            Err(_) => std::thread::sleep(START_RETRY),
        }
    }
}

/// Ends what `start` began.
fn stop(child: &mut Child) -> Result<(), String> {
    let failed = |error| format!("cannot stop the server: {error}");
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).map_err(|error| failed(error.into()))?;
    let deadline = now() + STOP_NANOSECONDS;
    while child.try_wait().map_err(failed)?.is_none() {
        if now() > deadline {
            child.kill().map_err(failed)?;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn conversation(options: &Options) -> Result<Conversation, String> {
    Conversation::new(options)
}

/// Warms up, then talks as told; gives the processor time of the second part in microseconds.
fn talk(conversation: &mut Conversation, options: &Options) -> Result<f64, String> {
    let server = Server::of(options.pid)?;
    conversation.talk(options.rate, WARM_UP_SECONDS)?;
    let before = server.cpu_nanoseconds()?;
    conversation.talk(options.rate, options.seconds)?;
    Ok((server.cpu_nanoseconds()? - before) as f64 / 1000.0)
}

fn say_latency(conversation: &Conversation) -> Figures {
    let latency = &conversation.tally.say_latency;
    vec![
        ("say_mean_ms", latency.mean_ms()),
        ("say_p50_ms", latency.percentile_ms(50.0)),
        ("say_p95_ms", latency.percentile_ms(95.0)),
        ("say_p99_ms", latency.percentile_ms(99.0)),
        ("say_max_ms", latency.max_ms()),
    ]
}
