def page(s, v): return ""
