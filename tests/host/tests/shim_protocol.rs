//! rt's own shim without containerd: requests over its socket, and events to a daemon that is not always
//! there.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use containerd_shim_protos::api::{
    ConnectRequest, CreateTaskRequest, DeleteRequest, DeleteResponse, ForwardRequest, KillRequest, Mount,
    ShutdownRequest, StartRequest, StateRequest, WaitRequest,
};
use containerd_shim_protos::events::task::TaskExit;
use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::shim::oci::Options;
use containerd_shim_protos::ttrpc::context::with_duration;
use containerd_shim_protos::ttrpc::proto::{MESSAGE_HEADER_LENGTH, MessageHeader};
use containerd_shim_protos::ttrpc::{Code, Error, Request, Response};
use containerd_shim_protos::{Client, TaskClient};
use rt_tests::containerd::processes_with;
use rt_tests::{Bundle, cgroups_named, eventually, need_host, need_shim, rt};

/// A shim that was started by hand, for one bundle. Its id is that of the bundle.
struct Shim {
    bundle: Bundle,
    id: String,
    address: String,
    task: TaskClient,
}

impl Shim {
    /// `-address` is `daemon` in the bundle, so that events go to `daemon.ttrpc`.
    fn start(bundle: Bundle) -> Shim {
        bundle.write();
        let id = bundle.path().file_name().unwrap().to_str().unwrap().trim_start_matches('.').to_owned();
        let address = Shim::call(&bundle, &id);
        let client = Client::connect(&address).unwrap();
        Shim { bundle, id, address, task: TaskClient::new(client) }
    }

    fn call(bundle: &Bundle, id: &str) -> String {
        // A caller may ignore SIGCHLD, or block it: the shim must learn of the end of its children all the same.
        let shim = rt().with_file_name("containerd-shim-rt-v1");
        let mut command = Command::new("env");
        command.args(["--ignore-signal=CHLD", "--block-signal=CHLD"]).arg(shim);
        let daemon = bundle.path().join("daemon");
        command.args(["-namespace", "test", "-id", id, "-address"]).arg(daemon).arg("start");
        command.env_remove("TTRPC_ADDRESS").current_dir(bundle.path()).stdin(Stdio::null());
        rt_tests::done(command).ok().to_owned()
    }

    /// Makes the container, its state in the bundle.
    fn create(&self, rootfs: Vec<Mount>) -> Result<u32, Error> {
        let root = self.bundle.path().join("states").to_str().unwrap().to_owned();
        let options = Options { root, ..Options::default() };
        let options = Any {
            type_url: "containerd.runc.v1.Options".to_owned(),
            value: options.write_to_bytes().unwrap(),
            ..Any::default()
        };
        let request = CreateTaskRequest {
            id: self.id.clone(),
            bundle: self.bundle.path().to_str().unwrap().to_owned(),
            rootfs,
            options: Some(options).into(),
            ..Default::default()
        };
        self.task.create(context(), &request).map(|response| response.pid)
    }

    fn start_task(&self) {
        self.task.start(context(), &StartRequest { id: self.id.clone(), ..Default::default() }).unwrap();
    }

    fn wait(&self) -> u32 {
        self.task.wait(context(), &WaitRequest { id: self.id.clone(), ..Default::default() }).unwrap().exit_status
    }

    fn delete(&self) -> Result<u32, Error> {
        let request = DeleteRequest { id: self.id.clone(), ..Default::default() };
        self.task.delete(context(), &request).map(|response| response.exit_status)
    }

    fn pid(&self) -> u32 {
        self.task.connect(context(), &ConnectRequest { id: self.id.clone(), ..Default::default() }).unwrap().shim_pid
    }
}

impl Drop for Shim {
    fn drop(&mut self) {
        let kill = KillRequest { id: self.id.clone(), signal: 9, ..Default::default() };
        let _ = self.task.kill(context(), &kill);
        // Killed by its test.
        let Ok(server) = self.task.connect(context(), &ConnectRequest::default()) else { return };
        let pid = server.shim_pid;
        // A container is there only after a test that failed.
        for _ in 0..50 {
            if !matches!(self.delete(), Err(Error::RpcStatus(status)) if status.code() == Code::UNKNOWN) {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.task.shutdown(context(), &ShutdownRequest { id: self.id.clone(), ..Default::default() });
        if !std::thread::panicking() {
            eventually("the end of the shim", || !is_alive(pid));
            assert!(!Path::new(self.address.trim_start_matches("unix://")).exists());
        }
    }
}

fn context() -> containerd_shim_protos::ttrpc::context::Context {
    with_duration(Duration::from_secs(30))
}

fn is_alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// The code of an error, and its text.
fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> (Code, String) {
    match result {
        Err(Error::RpcStatus(status)) => (status.code(), status.message),
        other => panic!("{other:?}"),
    }
}

/// Accepts one event on a connection of the shim; `None` when the connection ends.
fn next_event(stream: &mut UnixStream) -> Option<ForwardRequest> {
    let mut header = [0; MESSAGE_HEADER_LENGTH];
    stream.read_exact(&mut header).ok()?;
    let header = MessageHeader::from(header);
    let mut payload = vec![0; header.length as usize];
    stream.read_exact(&mut payload).ok()?;
    let request = Request::parse_from_bytes(&payload).unwrap();
    assert_eq!((&*request.service, &*request.method), ("containerd.services.events.ttrpc.v1.Events", "Forward"));
    let event = ForwardRequest::parse_from_bytes(&request.payload).unwrap();
    let response = Response::default().write_to_bytes().unwrap();
    let mut frame: Vec<u8> = MessageHeader::new_response(header.stream_id, response.len() as u32).into();
    frame.extend(response);
    stream.write_all(&frame).unwrap();
    Some(event)
}

fn daemon(bundle: &Bundle) -> (UnixListener, PathBuf) {
    let path = bundle.path().join("daemon.ttrpc");
    let listener = UnixListener::bind(&path).unwrap();
    (listener, path)
}

/// Events wait for a daemon that is away, arrive in order, and an event that was on its way when the
/// daemon went is sent to the next one.
#[test]
fn events_wait_for_the_daemon() {
    need_host!();
    need_shim!();
    let shim = Shim::start(Bundle::new(&["sh", "-c", "exit 7"]));
    shim.create(Vec::new()).unwrap();
    shim.start_task();
    assert_eq!(shim.wait(), 7);
    let (listener, path) = daemon(&shim.bundle);
    let (mut first, _) = listener.accept().unwrap();
    let topic = |event: &ForwardRequest| event.envelope.topic.clone();
    assert_eq!(topic(&next_event(&mut first).unwrap()), "/tasks/create");
    // It goes after it has read the next one, and before it has answered.
    let mut header = [0; MESSAGE_HEADER_LENGTH];
    first.read_exact(&mut header).unwrap();
    drop((first, listener));
    fs::remove_file(path).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let (listener, _) = daemon(&shim.bundle);
    let (mut second, _) = listener.accept().unwrap();
    assert_eq!(topic(&next_event(&mut second).unwrap()), "/tasks/start");
    let exit = next_event(&mut second).unwrap();
    assert_eq!((&*topic(&exit), &*exit.envelope.namespace), ("/tasks/exit", "test"));
    assert_eq!(exit.envelope.event.type_url, "containerd.events.TaskExit");
    let exit = TaskExit::parse_from_bytes(&exit.envelope.event.value).unwrap();
    assert_eq!((&*exit.container_id, &*exit.id, exit.exit_status), (&*shim.id, &*shim.id, 7));
    assert_eq!(shim.delete().unwrap(), 7);
    assert_eq!(topic(&next_event(&mut second).unwrap()), "/tasks/delete");
}

/// The shim mounts the root filesystem that a snapshotter describes, and unmounts it.
#[test]
fn the_root_filesystem_is_mounted() {
    need_host!();
    need_shim!();
    let image = Bundle::new(&["true"]);
    let bundle = Bundle::new(&["sh", "-c", "touch /x || exit 3"]);
    fs::remove_dir_all(bundle.rootfs()).unwrap();
    let rootfs = bundle.rootfs();
    let shim = Shim::start(bundle);
    let mount = |options: &[&str]| Mount {
        type_: "bind".to_owned(),
        source: image.rootfs().to_str().unwrap().to_owned(),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
        ..Mount::default()
    };
    let mounts = || fs::read_to_string("/proc/self/mountinfo").unwrap().matches(rootfs.to_str().unwrap()).count();
    // What cannot be mounted is named, and the first mount is taken back.
    let failed = code(shim.create(vec![mount(&["rbind"]), mount(&["loop"])]));
    assert!(failed.0 == Code::UNKNOWN && failed.1.contains("\"loop\""), "{failed:?}");
    assert_eq!(mounts(), 0);
    shim.create(vec![mount(&["rbind", "ro"])]).unwrap();
    assert_eq!(mounts(), 1);
    shim.start_task();
    assert_eq!(shim.wait(), 3, "the root filesystem can be written to");
    shim.delete().unwrap();
    assert_eq!(mounts(), 0);
    assert_eq!(cgroups_named(&shim.id), Vec::<String>::new());
}

/// What containerd calls when the server is gone: the container is killed, and nothing of it stays.
#[test]
fn delete_after_a_kill() {
    need_host!();
    need_shim!();
    let image = Bundle::new(&["true"]);
    let bundle = Bundle::new(&["sleep", "1000"]);
    fs::remove_dir_all(bundle.rootfs()).unwrap();
    let shim = Shim::start(bundle);
    let rootfs = Mount {
        type_: "bind".to_owned(),
        source: image.rootfs().to_str().unwrap().to_owned(),
        options: vec!["rbind".to_owned()],
        ..Mount::default()
    };
    let pid = shim.create(vec![rootfs]).unwrap();
    shim.start_task();
    let server = rustix::process::Pid::from_raw(shim.pid() as i32).unwrap();
    rustix::process::kill_process(server, rustix::process::Signal::KILL).unwrap();
    eventually("the end of the server", || !is_alive(server.as_raw_nonzero().get() as u32));
    let socket = Path::new(shim.address.trim_start_matches("unix://"));
    assert!(is_alive(pid) && socket.exists());

    let path = shim.bundle.path();
    let mut command = Command::new(rt().with_file_name("containerd-shim-rt-v1"));
    command.args(["-namespace", "test", "-id", &shim.id, "-address"]).arg(path.join("daemon"));
    command.arg("-bundle").arg(path).arg("delete").current_dir(path).stdin(Stdio::null());
    let output = command.output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let response = DeleteResponse::parse_from_bytes(&output.stdout).unwrap();
    assert_eq!((response.pid, response.exit_status), (pid, 137));
    assert!(response.exited_at.seconds > 1_700_000_000, "{response:?}");
    assert!(!is_alive(pid) && !socket.exists());
    assert!(!fs::read_to_string("/proc/self/mountinfo").unwrap().contains(path.to_str().unwrap()));
    assert_eq!(fs::read_dir(path.join("states/test")).unwrap().count(), 0);
    assert_eq!(cgroups_named(&shim.id), Vec::<String>::new());
}

/// A server whose daemon was killed before it connected, and that has lost its bundle, ends and takes
/// its socket along; a server with a client stays.
#[test]
fn a_server_that_nobody_will_ask() {
    need_host!();
    need_shim!();
    let asked = Shim::start(Bundle::new(&["true"]));
    let bundle = Bundle::new(&["true"]);
    bundle.write();
    let id = format!("{}-alone", asked.id);
    let socket = Shim::call(&bundle, &id);
    let socket = Path::new(socket.trim_start_matches("unix://"));
    std::thread::sleep(Duration::from_millis(2500));
    assert!(socket.exists(), "a server ended while its bundle was there");
    for bundle in [&asked.bundle, &bundle] {
        fs::remove_file(bundle.path().join("config.json")).unwrap();
    }
    fs::remove_dir_all(bundle.rootfs()).unwrap();
    eventually("the end", || !socket.exists() && processes_with(&format!("-id {id} ")).is_empty());
    assert!(!bundle.path().exists(), "{:?}", fs::read_dir(bundle.path()).unwrap().collect::<Vec<_>>());
    assert_eq!(asked.task.connect(context(), &ConnectRequest::default()).unwrap().task_pid, 0);
}

/// Requests that make no sense get the code that containerd acts on, and the shim goes on.
#[test]
fn requests_that_make_no_sense() {
    need_host!();
    need_shim!();
    let shim = Shim::start(Bundle::new(&["sleep", "1000"]));
    assert_eq!(code(shim.delete()), (Code::NOT_FOUND, "container not created: not found".to_owned()));
    let shim_pid = shim.pid();
    assert!(is_alive(shim_pid));
    // A second call for the same container finds the server.
    assert_eq!(Shim::call(&shim.bundle, &shim.id), shim.address);
    let pid = shim.create(Vec::new()).unwrap();
    assert_eq!(code(shim.create(Vec::new())).0, Code::ALREADY_EXISTS);
    let state = |exec: &str| {
        let request = StateRequest { id: shim.id.clone(), exec_id: exec.to_owned(), ..Default::default() };
        shim.task.state(context(), &request)
    };
    assert_eq!(state("").unwrap().pid, pid);
    assert_eq!(code(state("nosuch")), (Code::NOT_FOUND, "process does not exist nosuch: not found".to_owned()));
    let kill = |exec: &str, signal: u32| {
        let request = KillRequest { id: shim.id.clone(), exec_id: exec.to_owned(), signal, ..Default::default() };
        shim.task.kill(context(), &request)
    };
    assert_eq!(code(kill("nosuch", 9)).0, Code::NOT_FOUND);
    let escape = containerd_shim_protos::api::ExecProcessRequest {
        id: shim.id.clone(),
        exec_id: "../../x".to_owned(),
        ..Default::default()
    };
    assert_eq!(code(shim.task.exec(context(), &escape)).0, Code::INVALID_ARGUMENT);
    shim.start_task();
    assert_eq!(code(shim.delete()), (Code::UNKNOWN, "cannot delete a running process".to_owned()));
    // A shim with a container does not end.
    shim.task.shutdown(context(), &ShutdownRequest { id: shim.id.clone(), ..Default::default() }).unwrap();
    assert!(is_alive(shim_pid));
    kill("", 9).unwrap();
    assert_eq!(shim.wait(), 137);
    shim.delete().unwrap();
}

/// A step more likely to be killed for memory than its daemon; and nothing that the daemon has open
/// stays open.
#[test]
fn what_the_server_inherits() {
    need_host!();
    need_shim!();
    let shim = Shim::start(Bundle::new(&["true"]));
    let pid = shim.pid();
    let score = |process: &str| -> i32 {
        fs::read_to_string(format!("/proc/{process}/oom_score_adj")).unwrap().trim().parse().unwrap()
    };
    assert_eq!(score(&pid.to_string()), (score("self") + 1).min(1000));
    for number in 0..3 {
        assert_eq!(fs::read_link(format!("/proc/{pid}/fd/{number}")).unwrap(), Path::new("/dev/null"));
    }
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let links: Vec<String> =
        open.filter_map(|entry| fs::read_link(entry.path()).ok()).map(|link| link.display().to_string()).collect();
    assert!(!links.iter().any(|link| link.starts_with("pipe:")), "{links:?}");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.contains("Threads:\t1\n"), "{status}");
}
