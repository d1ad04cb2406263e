//! The keys of udp, dns, exec, grpc and https checks.

use super::super::faults::Fault;
use super::super::model::{DnsCheck, ExecCheck, GrpcCheck, TlsCheck, UdpCheck};
use super::super::raw::Section;
use super::super::value::{self, quote, string};
use super::super::words;
use crate::health::dns;
use toml::de::DeValue;

/// What one datagram carries over any path without being cut (an IPv6 packet of 1,280 bytes).
const MAX_DATAGRAM: usize = 1024;

/// Arguments of a program, and bytes of each: far below the kernel's bounds.
const MAX_ARGUMENTS: usize = 64;
const MAX_ARGUMENT: usize = 4096;

/// A name of a service in one length byte of protobuf.
const MAX_GRPC_SERVICE: usize = 127;

pub(super) fn udp(s: &Section<'_>) -> UdpCheck {
    let check = UdpCheck {
        send: s.get_or("send", |v| datagram(v, 0), String::new()),
        expect: s.get("expect", |v| datagram(v, 1)).map(|e| e.into_inner()),
    };
    if !s.has("expect") {
        let fault =
            Fault::new("without `expect` silence passes: only a refusal (ICMP) is a failure")
                .help("expect = \"..\": a text the answer contains");
        s.faults.warn(s.key_span("type"), &s.path_of("type"), fault);
    }
    check
}

fn datagram(value: &DeValue<'_>, least: usize) -> Result<String, Fault> {
    let text = string(value)?;
    if !(least..=MAX_DATAGRAM).contains(&text.len()) {
        let fault = Fault::new(format!("{} bytes in one datagram", text.len()));
        return Err(fault.help(format!("{least} to {MAX_DATAGRAM} bytes")));
    }
    Ok(text)
}

pub(super) fn dns(s: &Section<'_>) -> Option<DnsCheck> {
    let query = s.required("query", query);
    let record = s.get_or("record", |v| words::RECORD.read(v), dns::Record::A);
    let query = query?.into_inner();
    Some(DnsCheck { query, record })
}

fn query(value: &DeValue<'_>) -> Result<String, Fault> {
    let text = string(value)?;
    if !dns::is_name(&text) {
        let fault = Fault::new(format!("{} is no name to ask for", quote(&text)));
        return Err(fault.help("such as \"shop.example\", in ASCII"));
    }
    Ok(text)
}

pub(super) fn exec(s: &Section<'_>) -> Option<ExecCheck> {
    let command = s.required("command", command)?.into_inner();
    Some(ExecCheck { command })
}

fn command(value: &DeValue<'_>) -> Result<Vec<String>, Fault> {
    let DeValue::Array(items) = value else {
        let fault = Fault::new("a list is wanted here: no shell takes a line apart");
        return Err(fault.help("command = [\"/usr/local/bin/check\", \"--fast\"]"));
    };
    if items.is_empty() || items.len() > MAX_ARGUMENTS {
        let fault = Fault::new(format!("a command of {} words", items.len()));
        return Err(fault.help(format!(
            "1 to {MAX_ARGUMENTS}: the program, then its arguments"
        )));
    }
    let mut command = Vec::with_capacity(items.len());
    for item in items.iter() {
        let text = string(item.get_ref())?;
        if text.len() > MAX_ARGUMENT || text.contains('\0') {
            let fault = Fault::new(format!("{} cannot be an argument", quote(&text)));
            return Err(fault.help(format!("at most {MAX_ARGUMENT} bytes, none of them NUL")));
        }
        command.push(text);
    }
    if !command[0].starts_with('/') {
        let fault = Fault::new(format!("{} is not an absolute path", quote(&command[0])));
        return Err(fault.help("the program by its full path: it starts with `/`"));
    }
    Ok(command)
}

pub(super) fn grpc(s: &Section<'_>) -> GrpcCheck {
    GrpcCheck {
        service: s.get_or("service", grpc_service, String::new()),
    }
}

fn grpc_service(value: &DeValue<'_>) -> Result<String, Fault> {
    let text = string(value)?;
    if text.len() > MAX_GRPC_SERVICE || text.chars().any(char::is_control) {
        let fault = Fault::new(format!("{} is no name of a gRPC service", quote(&text)));
        return Err(fault.help(format!(
            "at most {MAX_GRPC_SERVICE} bytes; \"\" is the whole server"
        )));
    }
    Ok(text)
}

pub(super) fn tls(s: &Section<'_>) -> TlsCheck {
    let check = TlsCheck {
        sni: s.get("sni", sni).map(|sni| sni.into_inner()),
        verify: s.get_or("verify", value::boolean, true),
        ca_file: s.get("ca_file", value::path).map(|path| path.into_inner()),
    };
    if !check.verify && check.ca_file.is_some() {
        let fault = Fault::new("nothing is verified, so `ca_file` has no effect");
        s.faults
            .warn(s.key_span("ca_file"), &s.path_of("ca_file"), fault);
    }
    check
}

fn sni(value: &DeValue<'_>) -> Result<String, Fault> {
    let text = string(value)?;
    if !dns::is_name(&text) || text.ends_with('.') {
        let fault = Fault::new(format!("{} is no host name", quote(&text)));
        return Err(fault.help("such as \"shop.example\""));
    }
    Ok(text)
}
