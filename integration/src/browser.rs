//! A headless Chromium in a namespace, spoken to by its DevTools protocol over two pipes.

use crate::netns::NetnsHandle;
use crate::wait::wait_until;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use tempfile::TempDir;

/// It starts in 2 s; on a loaded machine with cold caches it takes several times that.
const ANSWERS_WITHIN: Duration = Duration::from_secs(40);

/// Quiet, alone, and without anything that would reach for the Internet.
const FLAGS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
];

/// One browser with one page.
#[derive(Debug)]
pub struct Browser {
    child: Child,
    to: ChildStdin,
    from: Receiver<Value>,
    asked: u64,
    session: Option<String>,
    requests: Vec<String>,
    complaints: Vec<String>,
    _profile: TempDir,
}

impl Browser {
    /// Starts one in `netns`.
    ///
    /// # Panics
    /// When Chromium is not installed or does not answer.
    pub fn start(netns: &NetnsHandle) -> Browser {
        let profile = tempfile::tempdir().expect("a directory");
        // It wants commands at descriptor 3 and answers at 4.
        let mut child = netns
            .command("sh")
            .args([
                "-c",
                "exec chromium \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1",
                "sh",
            ])
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .env("HOME", profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh");
        let to = child.stdin.take().expect("a pipe");
        let out = BufReader::new(child.stdout.take().expect("a pipe"));
        let (heard, from) = channel();
        std::thread::spawn(move || {
            for message in out.split(0).map_while(Result::ok) {
                let message = serde_json::from_slice(&message).expect("JSON");
                if heard.send(message).is_err() {
                    return;
                }
            }
        });
        let mut browser = Browser {
            child,
            to,
            from,
            asked: 0,
            session: None,
            requests: Vec::new(),
            complaints: Vec::new(),
            _profile: profile,
        };
        let target = browser.ask("Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = browser.ask("Target.attachToTarget", attach);
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.ask(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    /// Goes to `url`.
    pub fn open(&mut self, url: &str) {
        let answer = self.ask("Page.navigate", json!({"url": url}));
        assert!(answer["errorText"].is_null(), "{url}: {answer}");
    }

    /// The window's size, in CSS pixels, and how many of the screen's make one.
    pub fn size(&mut self, width: u32, height: u32, scale: f64) {
        let metrics = json!({
            "width": width, "height": height, "deviceScaleFactor": scale, "mobile": false,
        });
        self.ask("Emulation.setDeviceMetricsOverride", metrics);
    }

    /// What the reader prefers: `light` or `dark`.
    pub fn scheme(&mut self, scheme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.ask("Emulation.setEmulatedMedia", json!({"features": features}));
    }

    /// What a piece of JavaScript comes to.
    ///
    /// # Panics
    /// When it throws.
    pub fn eval(&mut self, expression: &str) -> Value {
        let question = json!({"expression": expression, "returnByValue": true});
        let answer = self.ask("Runtime.evaluate", question);
        assert!(
            answer["exceptionDetails"].is_null(),
            "{expression}: {answer}"
        );
        answer["result"]["value"].clone()
    }

    /// Waits until `expression` is true.
    ///
    /// # Panics
    /// When it is not within `deadline`; with the page's text.
    pub fn wait(&mut self, expression: &str, deadline: Duration) {
        let text = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_until(expression, deadline, || self.eval(expression) == true);
        }));
        if let Err(panic) = text {
            eprintln!("the page: {}", self.eval("document.body.innerText"));
            std::panic::resume_unwind(panic);
        }
    }

    /// A picture of the whole page, as PNG.
    pub fn screenshot(&mut self, file: &Path) {
        let whole = json!({"format": "png", "captureBeyondViewport": true});
        let answer = self.ask("Page.captureScreenshot", whole);
        let data = answer["data"].as_str().expect("a picture");
        let mut decode = Command::new("base64")
            .arg("--decode")
            .stdin(Stdio::piped())
            .stdout(std::fs::File::create(file).expect("the picture's file"))
            .spawn()
            .expect("base64 of coreutils");
        let mut input = decode.stdin.take().expect("a pipe");
        input.write_all(data.as_bytes()).expect("written");
        drop(input);
        assert!(decode.wait().expect("base64").success());
    }

    /// Everything it asked a server for.
    pub fn requests(&self) -> &[String] {
        &self.requests
    }

    /// What it complained of at its console: errors, exceptions, violations of the page's policy.
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }

    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.asked += 1;
        let mut question = json!({"id": self.asked, "method": method, "params": params});
        if let Some(session) = &self.session {
            question["sessionId"] = json!(session);
        }
        let mut bytes = question.to_string().into_bytes();
        bytes.push(0);
        self.to
            .write_all(&bytes)
            .expect("Chromium runs: it is needed (package chromium)");
        loop {
            let message = self.from.recv_timeout(ANSWERS_WITHIN);
            let message = message.expect("Chromium answers: it is needed (package chromium)");
            if message["id"] == self.asked {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
            self.hear(&message);
        }
    }

    fn hear(&mut self, message: &Value) {
        let params = &message["params"];
        match message["method"].as_str() {
            Some("Network.requestWillBeSent") => {
                let url = params["request"]["url"].as_str().unwrap_or_default();
                self.requests.push(url.to_owned());
            }
            Some("Runtime.exceptionThrown") => self.complaints.push(params.to_string()),
            Some("Runtime.consoleAPICalled") if params["type"] == "error" => {
                self.complaints.push(params.to_string());
            }
            Some("Log.entryAdded") if params["entry"]["level"] == "error" => {
                self.complaints.push(params["entry"].to_string());
            }
            _ => {}
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
