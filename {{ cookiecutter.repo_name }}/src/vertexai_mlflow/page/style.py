"""The style sheet of the page: two columns on a wide screen, one on a phone; light or dark as the reader's system."""

CSS = """
:root{color-scheme:light dark;--page:#f4f6f8;--card:#fff;--text:#1a1d23;--muted:#59616e;--line:#d5dae1;--link:#0757b8;
--ok:#1a7f37;--bad:#c21f2b;--run:#0757b8;--off:#8a5a00;--old:#0b6e68;--no:#6b7480;--edge:#a9b2bd;--path:#7a3fc4}
@media(prefers-color-scheme:dark){:root{--page:#0d1117;--card:#161b22;--text:#e6edf3;--muted:#9da7b3;--line:#30363d;
--link:#79b8ff;--ok:#4ac26b;--bad:#ff8078;--run:#6cb6ff;--off:#e0a93b;--old:#3cc9bd;--no:#8b949e;--edge:#57606a;
--path:#c297ff}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--text);font:15px/1.45 system-ui,sans-serif;overflow-wrap:anywhere}
main,header,footer{max-width:1080px;margin:0 auto;padding:0 16px}
header{padding-top:20px}
h1{font-size:1.35rem;margin:0 0 4px}
h2{font-size:1.05rem;margin:0 0 10px}
h3{font-size:1rem;margin:0 0 4px}
p{margin:0 0 8px}
a{color:var(--link)}
section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:14px 16px;margin:14px 0}
code,pre{font:.86em/1.4 ui-monospace,monospace}
pre{overflow:auto;max-height:26em;margin:6px 0 10px;padding:10px;border:1px solid var(--line);border-radius:6px;
background:var(--page);white-space:pre-wrap;display:flex;flex-direction:column-reverse}
summary{cursor:pointer}
.m,small,figcaption,footer{color:var(--muted)}
footer{padding-bottom:24px;font-size:.86em}
.state{display:inline-block;padding:1px 10px;border-radius:12px;border:2px solid currentColor;font-weight:600;
font-size:.95rem;vertical-align:2px;white-space:nowrap}
.ok{color:var(--ok)}.bad{color:var(--bad)}.run{color:var(--run)}.off{color:var(--off)}.old{color:var(--old)}
.no{color:var(--no)}
dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 14px;margin:10px 0 0}
dt{color:var(--muted)}
dd{margin:0;min-width:0}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:4px 10px 4px 0;border-top:1px solid var(--line);font-weight:400}
thead th{border:0;color:var(--muted);font-size:.86em}
.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.failed{border-color:var(--bad);border-left-width:5px}
.graph{overflow:auto;max-height:75vh}
.graph svg{display:block;margin:0 auto}
small{font-weight:400}
svg rect{fill:var(--card);stroke:currentColor;stroke-width:1.5}
svg text{fill:var(--text);font:12px system-ui,sans-serif;text-anchor:middle}
svg .s{fill:currentColor;font-size:11px}
svg .bad rect{stroke-width:3}
svg a:hover rect,svg a:focus rect{stroke-width:4}
.e{fill:none;stroke:var(--edge);stroke-width:1.3}
.e.cp{stroke:var(--path);stroke-width:3}
.d{fill:currentColor}
.steps{table-layout:fixed}
.steps th:first-child{width:30%}
.steps th:nth-child(2){width:14%}
.steps td:nth-child(2){white-space:nowrap}
.steps td:nth-child(3),.steps td:nth-child(4),.steps thead th:nth-child(3),
.steps thead th:nth-child(4){text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.steps th:nth-child(5){width:36%;padding-right:0}
.steps td:nth-child(5){padding:9px 0 4px}
.steps div{position:relative;height:13px;background:var(--page);border-radius:3px}
.steps i{position:absolute;top:0;bottom:0;min-width:2px;border-radius:2px;background:currentColor}
.steps .w{opacity:.5;background:repeating-linear-gradient(135deg,var(--muted) 0 2px,transparent 2px 5px)}
.steps .r{width:2px;background:var(--card)}
.cp>th::after{content:" ◆";color:var(--path)}
.key{color:var(--path)}
tr:target{outline:2px solid var(--link);outline-offset:2px}
.both{display:grid;grid-template-columns:1fr 1fr;gap:0 14px;align-items:start}
.both section{margin-top:0}
.plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,300px),1fr));gap:14px}
figure{margin:0}
figure img{display:block;max-width:100%;background:#fff;border-radius:6px;border:1px solid var(--line)}
@media(max-width:700px){
.both{grid-template-columns:1fr}
.steps,.steps tbody{display:block}
.steps thead{display:none}
.steps tr{display:grid;grid-template-columns:1fr auto auto;border-top:1px solid var(--line);padding:6px 0}
.steps tbody td,.steps tbody td:nth-child(5){border:0;padding:0 0 0 10px;width:auto}
.steps tbody th:first-child{border:0;padding:0;grid-column:1/-1;width:auto;font-weight:600}
.steps tbody td:nth-child(2){padding:0}
.steps td:nth-child(3):not(:empty)::before{content:"waited ";color:var(--muted)}
.steps td:nth-child(4):not(:empty)::before{content:"ran ";color:var(--muted)}
.steps tbody td:nth-child(5){grid-column:1/-1;padding:5px 0 0}
section{padding:12px}
.graph svg{max-width:max(100%,520px);height:auto}

}
@media print{body{background:#fff}section{break-inside:avoid}.graph{max-height:none}}
"""
