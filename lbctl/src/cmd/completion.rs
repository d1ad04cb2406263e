//! `lbctl completion`: the few lines that make a shell ask [`crate::complete`].

use crate::args::Shell;
use crate::complete::VARIABLE;
use crate::failure::Failure;
use clap_complete::env::{EnvCompleter, Fish, Zsh};
use std::io::{self, Write};
use std::process::ExitCode;

/// bash takes words apart at `:` and `=`, which stand in addresses and in `--option=value`: words are
/// put together before lbctl is asked, and what is on the line already is cut from its answer.
const BASH: &str = r#"# bash completion of lbctl
_lbctl() {
    local rest=$COMP_LINE before word head= line
    local -a words=()
    for word in "${COMP_WORDS[@]:0:COMP_CWORD}" "$2"; do
        before=$rest
        rest=${rest#"${rest%%[![:blank:]]*}"}
        if [[ ${#words[@]} -gt 0 && $rest == "$before" ]]; then
            words[-1]+=$word
        else
            words+=("$word")
        fi
        rest=${rest#"$word"}
    done
    local cur=${words[-1]}
    [[ $COMP_WORDBREAKS == *[:=]* && $cur == *[:=]* ]] && head=${cur%"${cur##*[:=]}"}
    COMPREPLY=()
    while IFS= read -r line; do
        [[ -n $line ]] && COMPREPLY+=("${line#"$head"}")
    done < <(_CLAP_IFS=$'\n' _CLAP_COMPLETE_INDEX=$((${#words[@]} - 1)) VARIABLE=bash \
        lbctl -- "${words[@]}" 2>/dev/null; echo)
    [[ ${COMPREPLY-} == *[=/:] ]] && compopt -o nospace 2>/dev/null
    return 0
}
complete -o bashdefault -o nosort -F _lbctl lbctl
"#;

/// As a file on zsh's fpath it is run at the first completion, which it has to answer, too.
const ZSH_AUTOLOADED: &str = r#"
if [ "$funcstack[1]" = _lbctl ]; then
    _clap_dynamic_completer_lbctl "$@"
fi
"#;

pub fn run(shell: Shell) -> Result<ExitCode, Failure> {
    io::stdout()
        .write_all(&script(shell).map_err(Failure::Output)?)
        .map_err(Failure::Output)?;
    Ok(ExitCode::SUCCESS)
}

fn script(shell: Shell) -> io::Result<Vec<u8>> {
    let mut script = Vec::new();
    match shell {
        Shell::Bash => script.extend(BASH.replace("VARIABLE", VARIABLE).bytes()),
        Shell::Zsh => {
            Zsh.write_registration(VARIABLE, "lbctl", "lbctl", "lbctl", &mut script)?;
            script.extend(ZSH_AUTOLOADED.bytes());
        }
        Shell::Fish => Fish.write_registration(VARIABLE, "lbctl", "lbctl", "lbctl", &mut script)?,
    }
    Ok(script)
}
