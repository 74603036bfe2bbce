"""What the page looks like and the few lines that move its sliders."""

CSS = """
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#59636e;--paper:#fdfdfc;--panel:#f3f4f2;--rule:#d5d9dd;
--error:#b3261e;--warn:#8a5a00;--note:#35506b;--c0:#0072b2;--c1:#d55e00;--c2:#00875a;--c3:#a0308a;--c4:#7a6000;
--c5:#1f8fb5;--c6:#6b4fbb;--c7:#b0455a}
@media screen and (prefers-color-scheme:dark){:root{
--ink:#e6e8ea;--soft:#a2abb5;--paper:#14171a;--panel:#1d2125;
--rule:#383f46;--error:#ff8a80;--warn:#f0b84a;--note:#9cc4ee;--c0:#5db7f0;--c1:#ff9a57;--c2:#4fd1a1;--c3:#f08ad8;
--c4:#dcc34a;--c5:#7fd3ee;--c6:#b9a5ff;--c7:#ff9fb0}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,"Segoe UI",Roboto,sans-serif}
main{max-width:72rem;margin:0 auto;padding:1.5rem 1.2rem 4rem}
h1{font-size:1.7rem;line-height:1.2;margin:.4rem 0 .2rem}
h2{font-size:1.2rem;margin:2.4rem 0 .5rem;padding-top:.6rem;border-top:1px solid var(--rule)}
h3{font-size:1rem;margin:1.2rem 0 .4rem}
p,li{max-width:62rem}.soft{color:var(--soft);font-size:.92rem}
.verdict{font-size:1.08rem;background:var(--panel);border-left:4px solid var(--c0);padding:.9rem 1.1rem}
nav a{margin-right:1rem;white-space:nowrap}a{color:var(--c0)}
.flags{list-style:none;padding:0}.flags li{padding:.35rem .7rem;margin:.25rem 0;background:var(--panel);
border-left:4px solid var(--note)}.flags .error{border-color:var(--error)}
.flags .warning{border-color:var(--warn)}
.flags b{text-transform:uppercase;font-size:.75rem;letter-spacing:.06em;margin-right:.5rem}
.error b{color:var(--error)}.warning b{color:var(--warn)}.note b{color:var(--note)}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,25rem),1fr));gap:1rem}
.pair+.pair{margin-top:1rem}
.scroll{overflow-x:auto;background:
linear-gradient(-90deg,var(--paper) 40%,transparent) 100% 0/3rem 100% no-repeat local,
linear-gradient(-90deg,var(--rule),transparent) 100% 0/.9rem 100% no-repeat scroll}
figure{margin:0}figcaption{color:var(--soft);font-size:.9rem;margin:.2rem 0 .4rem}
table{border-collapse:separate;border-spacing:0;font-size:.9rem;font-variant-numeric:tabular-nums;
min-width:min(100%,30rem)}
caption{text-align:left;color:var(--soft);padding:.3rem 0}
.under{display:block}
.wide{display:inline-block;min-width:min(17rem,45vw);font-weight:400}
caption span{display:block;max-width:min(62rem,calc(100vw - 2.6rem));white-space:normal}
th[scope=row]{position:sticky;left:0;background:var(--paper);white-space:normal;min-width:7rem;max-width:24rem}
th,td{padding:.28rem .6rem;border-bottom:1px solid var(--rule);text-align:right;white-space:nowrap}
th:first-child,td:first-child,.left{text-align:left}td.wrap{white-space:normal;min-width:16rem;text-align:left}
thead th{border-bottom:2px solid var(--soft);vertical-align:bottom}.best{font-weight:700}
svg{width:100%;height:auto;font:11.5px system-ui,sans-serif;display:block}
svg text{fill:var(--soft)}svg .name{font-weight:600}.grid{stroke:var(--rule);stroke-width:.7}
.axis{stroke:var(--soft)}.line{fill:none;stroke-width:2}.band{opacity:.14;stroke:none}
.bound{fill:none;stroke:var(--error);stroke-width:2}.forbidden{fill:var(--error);opacity:.08}
COLOURS
.card{background:var(--panel);padding:.7rem;margin:0}
.compare{position:relative;line-height:0;touch-action:pan-y}
.compare img,.plain img{width:100%;image-rendering:pixelated;display:block}
.compare .over{position:absolute;inset:0;clip-path:inset(0 calc(100% - var(--cut,50%)) 0 0)}
.compare::after{content:"";position:absolute;top:0;bottom:0;left:var(--cut,50%);width:2px;background:#fff;
mix-blend-mode:difference}
input[type=range]{width:100%;margin:.5rem 0 0}
.three{display:grid;grid-template-columns:repeat(3,1fr);gap:.3rem;margin-top:.4rem}
.three figcaption{font-size:.78rem;line-height:1.25}
code,pre{font:.86rem/1.5 ui-monospace,Consolas,monospace}pre{background:var(--panel);padding:.8rem;
overflow-x:auto;white-space:pre-wrap}
@media print{:root{color-scheme:light}body{font-size:10pt}nav,input[type=range]{display:none}
main{max-width:none;padding:0}.scroll{overflow:visible}h2{break-after:avoid}
figure,.flags li,tr,.card{break-inside:avoid}thead{display:table-header-group}
table{font-size:6.5pt;min-width:0;width:100%}table .soft{font-size:inherit}
th,td{white-space:normal;padding:.1rem .22rem}td.wrap,.wide,th[scope=row]{min-width:0;position:static}
caption{font-size:8pt}caption span{max-width:none}
.pair{grid-template-columns:1fr 1fr}.three figcaption{font-size:6.5pt}
.compare{display:grid;grid-template-columns:1fr 1fr;gap:.3rem;direction:rtl}
.compare .over{position:static;clip-path:none}.compare::after{display:none}}
""".replace(
    "COLOURS",
    "".join(
        f".line.c{n}{{stroke:var(--c{n})}}"
        f".band.c{n},.mark.c{n}{{fill:var(--c{n})}}svg .t{n}{{fill:var(--c{n})}}"
        for n in range(8)
    ),
)

JS = """
document.querySelectorAll('.compare').forEach(function(box){
  var range=box.parentNode.querySelector('input[type=range]');
  range.addEventListener('input',function(){box.style.setProperty('--cut',range.value+'%')});
});
"""
