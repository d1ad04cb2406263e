//! What services claim for themselves alone, and what no other may therefore be.

use super::super::faults::{Fault, Faults};
use crate::net::{Protocol, ServiceKey};
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::ops::Range;
use toml::Spanned;

/// VIP:port pairs of all services: each is an entry of the published table.
const MAX_ENDPOINTS: usize = 65_536;

/// An address of the file that must not be a VIP.
pub(super) struct Machine {
    /// The address and its place.
    pub(super) address: Spanned<IpAddr>,
    /// The keys that lead there.
    pub(super) path: String,
    /// Why a VIP cannot stand here.
    pub(super) reason: &'static str,
}

/// The claims of all services so far.
#[derive(Default)]
pub(super) struct Claims {
    /// Each with its place.
    names: HashMap<String, usize>,
    endpoints: HashMap<ServiceKey, (String, usize)>,
    vips: HashSet<IpAddr>,
    machines: Vec<Machine>,
    programs: Vec<(Range<usize>, String)>,
}

impl Claims {
    /// A service takes its name.
    pub(super) fn name(&mut self, faults: &Faults<'_>, name: &Spanned<String>, path: &str) {
        if let Some(first) = self.names.get(name.get_ref()) {
            let message = format!(
                "another service is called `{}`, on {}",
                name.get_ref(),
                faults.line_in_words(*first)
            );
            faults.error(
                name.span(),
                path,
                Fault::new(message).help("names are unique"),
            );
            return;
        }
        let at = name.span().start;
        self.names.insert(name.get_ref().clone(), at);
    }

    /// A check wants to run a program.
    pub(super) fn program(&mut self, span: Range<usize>, path: String) {
        self.programs.push((span, path));
    }

    /// No check may run a program.
    pub(super) fn refuse_programs(self, faults: &Faults<'_>) {
        for (span, path) in self.programs {
            let fault = Fault::new("exec checks are not allowed")
                .help("allow_exec = true in [lbd] allows lbd to run programs");
            faults.error(span, &path, fault);
        }
    }

    /// A service takes its VIP:port pairs.
    pub(super) fn endpoints(
        &mut self,
        faults: &Faults<'_>,
        vips: &[Spanned<IpAddr>],
        ports: &[Spanned<u16>],
        protocol: Protocol,
        service: &str,
        path: &str,
    ) {
        if let Some(first) = vips.first()
            && self.endpoints.len() + vips.len() * ports.len() > MAX_ENDPOINTS
        {
            let fault = Fault::new("the services have too many VIP:port pairs")
                .help(format!("at most {MAX_ENDPOINTS} in one lbd"));
            faults.error(first.span(), path, fault);
            return;
        }
        for vip in vips {
            self.vips.insert(*vip.get_ref());
            for port in ports {
                let key = ServiceKey {
                    vip: (*vip.get_ref()).into(),
                    port: *port.get_ref(),
                    protocol,
                };
                if let Some((other, at)) = self.endpoints.get(&key) {
                    let line = faults.line_in_words(*at);
                    let message = format!("{key} is already served by `{other}` ({line})");
                    let fault =
                        Fault::new(message).help("each VIP:port and protocol has one service");
                    faults.error(vip.span(), path, fault);
                } else {
                    let at = vip.span().start;
                    self.endpoints.insert(key, (service.to_owned(), at));
                }
            }
        }
    }

    /// An address that is a machine's own.
    pub(super) fn machine(&mut self, machine: Machine) {
        self.machines.push(machine);
    }

    /// When all VIPs are known: no machine has one of them.
    pub(super) fn settle(&self, faults: &Faults<'_>) {
        for Machine {
            address,
            path,
            reason,
        } in &self.machines
        {
            if self.vips.contains(address.get_ref()) {
                let fault = Fault::new(format!("{} is a VIP of this file", address.get_ref()));
                faults.error(address.span(), path, fault.help(*reason));
            }
        }
    }
}
