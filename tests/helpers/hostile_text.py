"""Texts from outside that want to be obeyed, and how to tell that none was."""

import pytest

HOSTILE = {
    "quotes": """it's "quoted" `touch hacked`""",
    "shell": "$(touch hacked) ${HOME} ; rm -rf x | cat & > y",
    "resolver": "${gcp.access_token:} ${oc.env:HOME}",
    "placeholder": "{{$}} {{$.inputs.parameters['params']}} {{$.pipeline_job_name}}",
    "markup": "[/data/x.csv] [red]x[/red] [link=http://evil]x[/link] :smile: \\[",
    "colours": "\x1b[31mred\x1b[0m \x1b[8mconcealed\x1b[0m",
    "cursor": "\x1b[2J\x1b[1A\x1b[2Kgone \x9b2J \b\b\b",
    "link of the terminal": "\x1b]8;;http://evil\x1b\\click\x1b]8;;\x1b\\",
    "title of the terminal": "\x1b]0;title\x07",
    "carriage return": "FAILED\rSUCCEEDED",
    "other direction": "abc\u202egpj.exe\u2066 \u200b\ufeff",
    "command of GitHub": "x\n::set-output name=image::evil\n  ::add-mask::x\n::stop-commands::x",
    "old command of GitHub": "x ##[add-mask]x ##[set-output name=a]b",
    "section of GitLab": "\x1b[0Ksection_start:1:x\r\x1b[0Khidden",
    "escaped newline": "x%0A::set-output name=image::evil%0D",
    "Markdown": "![x](http://evil/x.png) [x](javascript:alert(1)) **b** _i_ ~~s~~ `c` $m$ # h | cell |\n|---|\n- l",
    "HTML": "<img src=x onerror=alert(1)> </td></table><script>x</script> <!-- x &lt; &#60; <http://evil>",
    "path": "../../etc/passwd",
    "NUL": "a\0b",
    "half of a pair": "a\ud800b",
    "long": "x" * 200_000,
    "long and of many lines": " \n" * 3000,
}
TEXTS = [pytest.param(text, id=name) for name, text in HOSTILE.items()]
UNSEEN = [
    chr(number) for number in (*range(9), *range(11, 32), *range(127, 160), 0x202E, 0x2066, 0x200B, 0xFEFF, 0xD800)
]


def is_safe(printed: str) -> bool:
    """Whether a terminal and a runner of CI would show all of this and obey nothing in it."""
    commands = [line for line in printed.splitlines() if line.lstrip().startswith("::") or "##[" in line]
    return not commands and not any(character in printed for character in UNSEEN)


def squeezed(text: str) -> str:
    return "".join(text.split())
