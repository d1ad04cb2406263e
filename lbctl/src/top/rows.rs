//! Which lines the table has, in which order.

use lbcore::api::{Rate, Rates, RealView, ServiceView, StatusView};
use std::cmp::Reverse;
use std::net::IpAddr;

/// One line: a service, or a real of it.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// The service.
    pub service: &'a ServiceView,
    /// The real; `None`: the line is the service's.
    pub real: Option<&'a RealView>,
}

/// What a line is called, from one picture to the next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    service: String,
    real: Option<(IpAddr, u16)>,
}

impl Row<'_> {
    /// Its name over time.
    pub fn key(&self) -> Key {
        Key {
            service: self.service.name.clone(),
            real: self.real.map(|r| (r.address, r.port)),
        }
    }

    /// What flows each second.
    pub fn rate(&self, rates: &Rates) -> Option<Rate> {
        match self.real {
            Some(real) => rates.real(self.service, real),
            None => rates.service(self.service),
        }
    }

    fn matches(&self, words: &[String]) -> bool {
        let service = self.service;
        let mut text = format!("{} {}", service.name, service.state);
        for endpoint in &service.endpoints {
            text.push_str(&format!(" {endpoint}/{}", service.protocol));
        }
        if let Some(real) = self.real {
            text.push_str(&format!(
                " {} {} {} {}",
                real.name, real.address, real.state, real.reason
            ));
        }
        let text = text.to_lowercase();
        words.iter().all(|word| text.contains(word))
    }
}

/// What lines are ordered by; `s` goes from one to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// As in the file.
    #[default]
    File,
    /// Trouble first.
    State,
    /// Most flows first.
    Flows,
    /// Most bits a second first.
    Bits,
    /// Most new flows a second first.
    NewFlows,
    /// By name.
    Name,
}

impl Order {
    /// The next one.
    pub fn next(self) -> Order {
        match self {
            Order::File => Order::State,
            Order::State => Order::Flows,
            Order::Flows => Order::Bits,
            Order::Bits => Order::NewFlows,
            Order::NewFlows => Order::Name,
            Order::Name => Order::File,
        }
    }

    /// In words.
    pub fn word(self) -> &'static str {
        match self {
            Order::File => "as in the file",
            Order::State => "trouble first",
            Order::Flows => "by flows",
            Order::Bits => "by bits",
            Order::NewFlows => "by new flows",
            Order::Name => "by name",
        }
    }

    fn sort(self, rows: &mut [Row<'_>], rates: &Rates) {
        // Whole numbers, since fractions have no order; a tenth is fine enough.
        let tenths = |value: f64| (value * 10.0).round() as u64;
        let rate = |row: &Row<'_>| row.rate(rates).unwrap_or_default();
        match self {
            Order::File => {}
            Order::State => rows.sort_by_key(|row| match row.real {
                Some(real) => real.state.serves(),
                None => row.service.state == lbcore::api::ServiceState::Up,
            }),
            Order::Flows => rows
                .sort_by_key(|row| Reverse(row.real.map_or(row.service.flows, |real| real.flows))),
            Order::Bits => rows.sort_by_key(|row| Reverse(tenths(rate(row).bits))),
            Order::NewFlows => rows.sort_by_key(|row| Reverse(tenths(rate(row).new_flows))),
            Order::Name => rows.sort_by(|a, b| {
                let name = |row: &Row<'_>| match row.real {
                    Some(real) => real.name.clone(),
                    None => row.service.name.clone(),
                };
                name(a).cmp(&name(b))
            }),
        }
    }
}

/// The lines: each service with its reals below it, as far as all words of `filter` are found. A
/// service stays where one of its reals does.
pub fn rows<'a>(status: &'a StatusView, rates: &Rates, filter: &str, order: Order) -> Vec<Row<'a>> {
    let words: Vec<String> = filter
        .to_lowercase()
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    let service_row = |service| Row {
        service,
        real: None,
    };
    let mut services: Vec<Row<'a>> = status.services.iter().map(service_row).collect();
    order.sort(&mut services, rates);
    let mut rows = Vec::new();
    for row in services {
        let service = row.service;
        let mut reals: Vec<Row<'a>> = service
            .reals
            .iter()
            .map(|real| Row {
                service,
                real: Some(real),
            })
            .filter(|row| row.matches(&words))
            .collect();
        order.sort(&mut reals, rates);
        if !reals.is_empty() || row.matches(&words) {
            rows.push(row);
            rows.append(&mut reals);
        }
    }
    rows
}
