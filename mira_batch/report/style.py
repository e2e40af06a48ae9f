"""The report's style sheet: one column, light and dark, no font or picture from elsewhere."""

STYLE = """
:root{--bg:#f6f6f4;--card:#fff;--well:#f0f0ed;--ink:#1d1e20;--soft:#63656a;--line:#e5e5e1;--accent:#4456c7;
--ok:#17713f;--ok-bg:#e3f3e9;--bad:#b3261e;--bad-bg:#fcebe9;--warn:#8a5300;--check:#dcdcd8;
--policy:#5a6ad4;--editor:#2a9d8f;--judge:#d99a2b;--waiting:#c5c6c3;--io:#a9689a}
@media(prefers-color-scheme:dark){:root{--bg:#131417;--card:#1b1d21;--well:#24262b;--ink:#ececee;--soft:#a2a5ac;
--line:#2c2f35;--accent:#9aa8ff;--ok:#6fd79b;--ok-bg:#16301f;--bad:#ff9a90;--bad-bg:#381c1a;--warn:#e8b45c;
--check:#3a3d43;--policy:#8492f0;--editor:#3fb8a9;--judge:#e0aa45;--waiting:#4c4f55;--io:#c084b2}}
*{box-sizing:border-box;margin:0}
body{max-width:1280px;margin:0 auto;padding:40px 32px;background:var(--bg);color:var(--ink);
font:15px/1.5 Inter,system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;overflow-wrap:anywhere;
-webkit-text-size-adjust:100%}
h1,h2,h3{font-weight:600;line-height:1.25;letter-spacing:-.01em}ul,ol{list-style:none;padding:0}b{font-weight:600}
h1{font-size:30px;letter-spacing:-.02em}h1,h3{display:flex;flex-wrap:wrap;gap:4px 12px;align-items:center}
h2{font-size:20px;margin-bottom:14px}h3{font-size:15px}
h2 small{margin-left:6px;font-size:14px;font-weight:400;letter-spacing:0;color:var(--soft)}
.quiet{font-size:13px;color:var(--soft)}.quiet b{font-weight:500;color:var(--ink)}
.brand{margin-bottom:10px;font-size:13px;font-weight:600}.brand span{color:var(--soft);font-weight:400}
.badge{padding:5px 9px;border-radius:99px;font-size:12px;font-weight:600;line-height:1;letter-spacing:0}
.badge.ok{color:var(--ok);background:var(--ok-bg)}.badge.bad{color:var(--bad);background:var(--bad-bg)}
.badge.open{color:var(--soft);background:var(--well)}
.facts{display:flex;flex-wrap:wrap;gap:4px 28px;margin:14px 0 28px;font-size:13px}
.facts div{display:flex;gap:8px}dt{font-size:13px;color:var(--soft)}
.figures,.panels>section,article,.table{border:1px solid var(--line);
border-radius:14px;background:var(--card)}
.figures{display:grid;grid-template-columns:repeat(8,auto);gap:16px 24px;padding:20px 24px}
.figures dd{font-size:28px;font-weight:600;line-height:1.2;letter-spacing:-.02em;
font-variant-numeric:tabular-nums}
.figures small{font-size:14px;font-weight:400;letter-spacing:0;color:var(--soft)}
.figures .bad dd{color:var(--bad)}.figures .warn dd{color:var(--warn)}
.panels{display:grid;grid-template-columns:2fr 1fr 1fr;gap:16px;margin-top:16px}
.panels>section{padding:20px 24px}.panels h2{font-size:15px}main>section{margin-top:44px}
.bar{display:flex;gap:2px;height:14px;border-radius:7px;overflow:hidden}.bar i{flex-basis:0;min-width:2px}
.policy{background:var(--policy)}.editor{background:var(--editor)}.judge{background:var(--judge)}
.waiting{background:var(--waiting)}.io{background:var(--io)}
.legend{display:flex;flex-wrap:wrap;gap:4px 20px;margin:12px 0 8px;font-size:14px}
.legend li{display:flex;align-items:center;gap:7px}.legend i{width:10px;height:10px;border-radius:3px}
.counts li{display:grid;grid-template-columns:1fr auto;gap:3px 12px;margin-bottom:9px;font-size:14px}
.counts i{grid-column:1/-1;min-width:4px;height:4px;border-radius:2px;background:var(--accent)}
.counts.bad i{background:var(--bad)}
article{display:grid;grid-template-columns:250px 1fr;gap:28px;padding:22px 24px;margin-bottom:14px}
.about>*+*{margin-top:8px}
.strip{display:grid;grid-template-columns:repeat(auto-fill,minmax(180px,1fr));gap:18px 22px;align-items:start}
.long{grid-template-columns:repeat(auto-fill,minmax(140px,1fr))}
.still{position:relative;min-width:0;font-size:13px;line-height:1.4}
.view,.words{aspect-ratio:var(--ratio);margin-bottom:8px;border-radius:8px;background:var(--well)}
.view{position:relative;display:grid;place-items:center;overflow:hidden}
.view p{padding:12px;text-align:center}
.still+.still:before{content:"";position:absolute;left:-17px;width:7px;height:7px;transform:rotate(45deg);
margin-top:calc(50%/var(--ratio) - 4px);border:solid var(--soft);border-width:1.5px 1.5px 0 0;opacity:.7}
.view img{position:absolute;inset:0;margin:auto}.wide{width:100%;height:auto}.tall{width:auto;height:100%}
.transparent{background:repeating-conic-gradient(var(--check) 0 25%,var(--card) 0 50%) 0 0/16px 16px}
.words{padding:12px}.words ol{padding-left:20px;list-style:decimal}.words li::marker{color:var(--soft)}
.result .view{outline:2px solid var(--accent);outline-offset:2px}.result b{color:var(--accent)}
.undone img{opacity:.45;filter:grayscale(1)}.undone .caption{text-decoration:line-through;color:var(--soft)}
.message{grid-column:span 2;padding:10px 14px;border-radius:8px;font-size:13px;line-height:1.45;
color:var(--bad);background:var(--bad-bg)}
details{margin-top:2px;font-size:13px;color:var(--soft)}summary{width:max-content;border-radius:4px;cursor:pointer}
summary:hover{color:var(--ink)}:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
.table{overflow-x:auto}table{width:100%;border-collapse:collapse;font-size:13px}
th,td{padding:9px 16px;border-top:1px solid var(--line);min-width:90px;text-align:left;vertical-align:top}
thead th{border-top:0;font-weight:500;color:var(--soft)}td:last-child{min-width:220px}
footer{margin-top:44px;padding-top:16px;border-top:1px solid var(--line);font-size:13px;color:var(--soft)}
@media(max-width:1000px){.figures{grid-template-columns:repeat(4,1fr)}.panels{grid-template-columns:1fr 1fr}
.panels>:first-child{grid-column:1/-1}article{grid-template-columns:1fr;gap:18px}}
@media(max-width:560px){body{padding:24px 16px}h1{font-size:24px}.figures{grid-template-columns:1fr 1fr}
.panels{grid-template-columns:1fr}.figures,.panels>section,article{padding:18px}
.strip{grid-template-columns:1fr 1fr;gap:16px}.still+.still:before{left:-11px;width:5px;height:5px}}
@media print{article,.panels>section{break-inside:avoid}}
"""
