//! rt's shim: `start`, or the server that this leaves, is struck while a client takes a container through
//! its life. containerd then calls `delete`, and after that nothing may be left.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use containerd_shim_protos::api::{
    CreateTaskRequest, DeleteRequest, ExecProcessRequest, KillRequest, ShutdownRequest, StartRequest, WaitRequest,
};
use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::ttrpc::context::{Context, with_duration};
use containerd_shim_protos::ttrpc::proto::{MESSAGE_HEADER_LENGTH, MessageHeader};
use containerd_shim_protos::ttrpc::{Error, Response};
use containerd_shim_protos::{Client, TaskClient};
use rt_tests::{Bundle, rt};

use super::tracer::{Strike, Traced, Whose, trace};
use super::world::{World, run, survivors};
use super::{Options, Tally, name};

/// Where the shim keeps sockets, and rt the state of this namespace's containers.
const STATE: &str = "/run/containerd";

struct Shim<'a> {
    options: &'a Options,
    bundle: Bundle,
    id: String,
}

/// Strikes at every call, or one in some.
pub fn sweep(options: &Options) -> Tally {
    let bundle = Bundle::new(&["sleep", "1000"]);
    bundle.write();
    let id = format!("rt-sweep-shim-{}", std::process::id());
    let shim = Shim { options, bundle, id };
    serve_events(&shim.bundle.path().join("daemon.ttrpc"));
    // The first container makes directories that stay. Its server removes the socket as the last thing
    // that it does, after its answer to the client.
    let _ = (shim.life(run), run(shim.command("delete")));
    let late = survivors();
    if !late.is_empty() {
        return Tally {
            problems: late.into_iter().map(|what| ("first".to_owned(), what)).collect(),
            ..Tally::default()
        };
    }
    let before = shim.look();
    let (traced, problems) = shim.point(u32::MAX, Strike::Kill, &before);
    let mut tally = Tally::default();
    tally.problems.extend(problems.into_iter().map(|problem| ("unstruck".to_owned(), problem)));
    if !tally.problems.is_empty() {
        return tally;
    }
    for (i, at) in (options.from..=traced.calls).step_by(options.every as usize).enumerate() {
        let strike = if options.fail { Strike::Fail(super::ERRORS[i % super::ERRORS.len()]) } else { Strike::Kill };
        let (traced, problems) = shim.point(at, strike, &before);
        tally.points += 1;
        let place = format!("{at}:{}:{strike:?}", name(traced.struck));
        if options.verbose {
            println!("shim {place}: {} {:?} {problems:?}", traced.code, traced.err);
        }
        tally.problems.extend(problems.into_iter().map(|problem| (place.clone(), problem)).take(1));
    }
    tally
}

impl Shim<'_> {
    fn look(&self) -> World {
        World::look(&self.id, Path::new(STATE))
    }

    fn command(&self, action: &str) -> Command {
        let mut command = Command::new(rt().with_file_name("containerd-shim-rt-v1"));
        command.args(["-namespace", "sweep", "-id", &self.id, "-address"]).arg(self.bundle.path().join("daemon"));
        command.arg("-bundle").arg(self.bundle.path()).arg(action);
        command.current_dir(self.bundle.path()).env_remove("TTRPC_ADDRESS").stdin(Stdio::null());
        // The shim looks for rt there.
        let own = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{own}", rt().parent().unwrap_or(Path::new("/")).display()));
        command
    }

    /// One strike, and what is wrong after it.
    fn point(&self, at: u32, strike: Strike, before: &World) -> (Traced, Vec<String>) {
        let whose = if self.options.whose == Whose::Init { Whose::Server } else { Whose::Runtime };
        let (traced, told) = self.life(|command| trace(command, whose, at, strike, None));
        let mut problems = Vec::new();
        if traced.hung {
            problems.push("hung".to_owned());
        }
        if let Err(why) = told
            && at == u32::MAX
        {
            problems.push(why);
        }
        problems.extend(self.lost(before));
        // The same id, unstruck.
        if at != u32::MAX {
            let (done, told) = self.life(run);
            let told = if done.code == 0 { told } else { Err(done.err) };
            problems.extend(told.err().map(|why| format!("another of the same id: {}", why.trim_end())));
            problems.extend(self.lost(before));
        }
        (traced, problems)
    }

    /// Starts a server, and takes a container through its life meanwhile.
    fn life<T>(&self, start: impl FnOnce(Command) -> T) -> (T, Result<(), String>) {
        let bundle = self.bundle.path().to_owned();
        let _ = fs::remove_file(bundle.join("address"));
        let over = Arc::new(AtomicBool::new(false));
        let (id, flag) = (self.id.clone(), Arc::clone(&over));
        let client = std::thread::spawn(move || client(&bundle, &id, &flag));
        let started = start(self.command("start"));
        over.store(true, Ordering::Relaxed);
        (started, client.join().unwrap_or_else(|_| Err("the client panicked".to_owned())))
    }

    /// What containerd does when it has lost a shim, and what is wrong with that.
    fn lost(&self, before: &World) -> Vec<String> {
        let done = run(self.command("delete"));
        let mut problems: Vec<String> =
            (done.code != 0).then(|| format!("delete: {}", done.err.trim_end())).into_iter().collect();
        problems.extend(survivors());
        problems.extend(self.look().difference(before));
        if !problems.is_empty() {
            let _ = run(self.command("delete"));
            for dir in rt_tests::cgroups_named(&self.id) {
                let _ = fs::remove_dir(dir.trim_start_matches("cgroup "));
            }
        }
        problems
    }
}

/// Create, start, exec, kill, delete and shutdown, as far as there is a server.
fn client(bundle: &Path, id: &str, over: &AtomicBool) -> Result<(), String> {
    let task = loop {
        let is_over = over.load(Ordering::Relaxed);
        let address = fs::read_to_string(bundle.join("address")).unwrap_or_default();
        let path = address.trim_start_matches("unix://");
        if !path.is_empty() && UnixStream::connect(path).is_ok() {
            break TaskClient::new(Client::connect(&address).map_err(|e| e.to_string())?);
        }
        if is_over {
            return Err("no server".to_owned());
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    story(&task, bundle, id).map_err(|e| {
        // What containerd does after an error. The server may be gone.
        let _ = task.kill(soon(), &KillRequest { id: id.to_owned(), signal: 9, ..Default::default() });
        let _ = task.wait(soon(), &WaitRequest { id: id.to_owned(), ..Default::default() });
        let _ = task.delete(soon(), &DeleteRequest { id: id.to_owned(), ..Default::default() });
        let _ = task.shutdown(soon(), &ShutdownRequest::default());
        e.to_string()
    })
}

fn soon() -> Context {
    with_duration(Duration::from_secs(5))
}

fn story(task: &TaskClient, bundle: &Path, id: &str) -> Result<(), Error> {
    let id = || id.to_owned();
    let bundle = bundle.to_string_lossy().into_owned();
    task.create(soon(), &CreateTaskRequest { id: id(), bundle, ..Default::default() })?;
    task.start(soon(), &StartRequest { id: id(), ..Default::default() })?;
    let process = serde_json::json!({"args": ["true"], "cwd": "/", "user": {"uid": 0, "gid": 0}, "env": ["PATH=/bin"]});
    let spec = Any {
        type_url: "types.containerd.io/opencontainers/runtime-spec/1/Process".to_owned(),
        value: process.to_string().into_bytes(),
        ..Any::default()
    };
    let exec = || "e".to_owned();
    task.exec(
        soon(),
        &ExecProcessRequest { id: id(), exec_id: exec(), spec: Some(spec).into(), ..Default::default() },
    )?;
    task.start(soon(), &StartRequest { id: id(), exec_id: exec(), ..Default::default() })?;
    task.wait(soon(), &WaitRequest { id: id(), exec_id: exec(), ..Default::default() })?;
    task.delete(soon(), &DeleteRequest { id: id(), exec_id: exec(), ..Default::default() })?;
    task.kill(soon(), &KillRequest { id: id(), signal: 9, ..Default::default() })?;
    task.wait(soon(), &WaitRequest { id: id(), ..Default::default() })?;
    task.delete(soon(), &DeleteRequest { id: id(), ..Default::default() })?;
    task.shutdown(soon(), &ShutdownRequest { id: id(), ..Default::default() }).map(drop)
}

/// containerd's side of events: a server without it waits for it in the end.
fn serve_events(path: &Path) {
    let listener = UnixListener::bind(path).expect("a socket for events");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || while answer(&stream).is_some() {});
        }
    });
}

fn answer(mut stream: &UnixStream) -> Option<()> {
    let mut header = [0; MESSAGE_HEADER_LENGTH];
    stream.read_exact(&mut header).ok()?;
    let header = MessageHeader::from(header);
    std::io::copy(&mut stream.take(header.length.into()), &mut std::io::sink()).ok()?;
    let response = Response::default().write_to_bytes().ok()?;
    let mut frame: Vec<u8> = MessageHeader::new_response(header.stream_id, response.len() as u32).into();
    frame.extend(response);
    stream.write_all(&frame).ok()
}
